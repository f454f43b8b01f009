"""Every family x {2D, 3D} x every kind of condition keeps the contract of `medsynth.models.contract`."""

import copy

import pytest
import torch

from medsynth import registry
from medsynth.artifacts.tensors import read_tensors
from medsynth.config.training import Augmentation
from medsynth.models.checkpoint import load_model, save_model
from medsynth.models.contract import Batch
from medsynth.sample.sample import TOLERANCE
from medsynth.train.optimisers import to_tensors
from medsynth.train.trainer import Trainer
from tests.contracts.examples import BATCH, CPU, EXAMPLES, Trained

COMBINATIONS = [
    pytest.param((family, kind, dims), id=f"{family}-{kind}-{dims}d", marks=pytest.mark.xdist_group(f"{kind}-{dims}d"))
    for dims in (2, 3)
    for kind in registry.CONDITIONS
    for family, entry in registry.FAMILIES.items()
    if kind in entry.load_settings().honours
]
SEEDS = (5, 2**40 + 5, 7, 8)  # two that share their last 32 bits


@pytest.fixture(scope="module", params=COMBINATIONS)
def run(request, trained) -> Trained:
    return trained(*request.param)


@pytest.fixture(scope="module")
def asked(run) -> Batch:
    """What four held-out images show."""
    return Batch(run.batch("val").condition[:4])


@pytest.fixture(scope="module")
def images(run, model, asked):
    return model.sample(asked, SEEDS, run.settings.model.sampler)


def test_every_family_has_an_example():
    assert EXAMPLES.keys() == registry.FAMILIES.keys()


def test_loss_terms_are_finite_vectors_whose_gradients_reach_their_phase(run):
    trainer = run.unbroken
    batch = run.batch("train", Augmentation(probability=1))[slice(BATCH)]
    for phase in trainer.model.phases:
        trainer.model.zero_grad()
        terms = trainer.model.loss(batch, phase.name)
        assert all(term.shape == (BATCH,) and term.isfinite().all() for term in terms.values())
        sum(terms.values()).sum().backward()
        for path in phase.modules:
            gradients = [p.grad for p in trainer.model.get_submodule(path).parameters() if p.grad is not None]
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert any(gradient.any() for gradient in gradients), path
    trainer.model.zero_grad()
    score = trainer.model.score(batch)
    assert score is None or (score.shape == (BATCH,) and score.isfinite().all())


def test_the_loss_falls(run):
    assert run.after < run.example.left * run.before


def test_samples_are_images(run, images):
    assert images.shape == (4, *run.store.info.image_shape)
    assert images.isfinite().all() and images.abs().max() <= 1


def test_the_seed_decides_the_sample(run, model, asked, images):
    sampler = run.settings.model.sampler
    assert torch.equal(model.sample(asked, SEEDS, sampler), images)
    same = Batch(asked.condition[torch.zeros(4, dtype=torch.long)])
    alike = model.sample(same, SEEDS, sampler)
    for first in range(4):
        for second in range(first):
            assert (alike[first] - alike[second]).abs().max() > 10 * TOLERANCE["float32"]


def test_batch_size_and_order_do_not_change_a_sample(run, model, asked, images):
    for rows in ([2], [3, 0, 1]):
        part = model.sample(asked[torch.tensor(rows)], [SEEDS[row] for row in rows], run.settings.model.sampler)
        assert (part - images[rows]).abs().max() <= TOLERANCE["float32"] / 2


def test_the_condition_reaches_the_image(run, model):
    """The held-out rows in turn, each with the seed of the row before."""
    condition = run.batch("val").condition
    turned = torch.arange(len(condition)).roll(1)
    one, other = (model.sample(Batch(c), range(8), run.settings.model.sampler) for c in (condition, condition[turned]))
    change = (one - other).abs().flatten(1).amax(1)
    same = (condition.values == condition.values[turned]).all(1) & (condition.states == condition.states[turned]).all(1)
    if condition.mask is not None:
        same &= (condition.mask == condition.mask[turned]).flatten(1).all(1)
    assert not same.all()
    assert (change[~same] > TOLERANCE["float32"]).all(), change


def test_a_family_that_reconstructs_does_so_alone_and_nearer_than_the_mean(run, model):
    """Others say that they do not."""
    batch = run.batch("val")
    if not model.reconstructs:
        with pytest.raises(NotImplementedError, match="reconstructs no images"):
            model.reconstruct(batch)
        return
    made = model.reconstruct(batch)
    assert made.shape == batch.image.shape and made.abs().max() <= 1
    assert (model.reconstruct(batch[slice(1, 3)]) - made[1:3]).abs().max() <= TOLERANCE["float32"] / 2
    mean = run.batch("train").image.mean(0)
    assert (made - batch.image).square().mean() < 0.95 * (mean - batch.image).square().mean()


def test_a_resumed_training_equals_an_unbroken_one(run):
    resumed = Trainer(run.settings, run.store, CPU, parents=run.parents)
    resumed.restore(run.broken)
    assert resumed.step == run.example.steps - 2
    for _ in range(2):
        resumed.advance()
    for of in (
        lambda trainer: trainer.model.state_dict(),
        lambda trainer: trainer.averages.now,
        lambda trainer: trainer.averages.early,
        lambda trainer: to_tensors(trainer.optimisers),
    ):
        whole, again = of(run.unbroken), of(resumed)
        assert whole.keys() == again.keys()
        assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_the_averaged_submodules_of_the_model_and_its_guide_are_saved(run, model):
    weights, _ = read_tensors(run.weights)
    averages = run.unbroken.averages
    expected = averages.best | {f"guide.{name}": tensor for name, tensor in averages.early.items()}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights.items())
    assert model.keeps_guide == bool(averages.early)
    own = {name for name in weights if not name.startswith("guide.")}
    assert own == model.sampled_state().keys() == {
        f"{path}.{name}" for path in model.averaged for name in model.get_submodule(path).state_dict()
    }  # fmt: skip


def test_weights_round_trip(run, model, asked, images, tmp_path):
    """The model in memory, the loaded one, and that one saved and loaded again draw the same."""
    sampler = run.settings.model.sampler
    trained = copy.deepcopy(run.unbroken.model)
    trained.load_state_dict(run.unbroken.averages.best, strict=False)
    trained.guide = model.guide
    assert torch.equal(trained.eval().sample(asked, SEEDS, sampler), images)
    weights = model.sampled_state()
    if model.guide is not None:
        weights |= {f"guide.{name}": tensor for name, tensor in model.guide.sampled_state().items()}
    save_model(tmp_path, weights, run.store.info, run.settings, {}, 0, 0.0, None)
    again, _ = load_model(tmp_path / "model.safetensors", CPU)
    assert torch.equal(again.sample(asked, SEEDS, sampler), images)
