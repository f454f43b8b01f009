"""Every family tells how well it knows an image, each by itself, and a copy that learns an image comes to know it."""

import numpy as np
import pytest
import torch

from medsynth import registry
from medsynth.config.membership import Membership
from medsynth.membership.canaries import taught
from medsynth.models.checkpoint import spec_of
from medsynth.models.contract import Batch
from medsynth.sample.sample import TOLERANCE
from tests.contracts.added.prototype import Prototype, PrototypeModel
from tests.contracts.examples import SPLIT, Trained, toy_store

KIND = "categorical"
COMBINATIONS = [
    pytest.param((family, KIND, dims), id=f"{family}-{dims}d", marks=pytest.mark.xdist_group(f"{KIND}-{dims}d"))
    for dims in (2, 3)
    for family in registry.FAMILIES
]
SEEDS = (5, 2**40 + 5)
STUDENT = {f"stage_{n}_{score}" for n in (1, 2) for score in ("loss_0.1", "loss_0.3", "loss_1", "sima")}
CASCADE = STUDENT | {f"stage_{n}_calibrated_{level}" for n in (1, 2) for level in ("0.1", "0.3", "1")}
AUTOENCODER = {"reconstruction", "elbo"}
NAMES = {
    "diffusion": CASCADE,
    "consistency": STUDENT,  # which has no early state
    "stylegan": {"discriminator"},
    "vae": AUTOENCODER,
    "vaegan": AUTOENCODER,
    "latent_diffusion": {
        *(name for name in CASCADE if name.startswith("stage_1")),
        *(f"autoencoder_{name}" for name in AUTOENCODER),
    },
}


@pytest.fixture(scope="module", params=COMBINATIONS)
def run(request, trained) -> Trained:
    return trained(*request.param)


def test_the_scores_of_an_image_are_its_own_and_the_same_every_time(run, model):
    batch = run.batch("val")
    scores = model.membership_scores(batch, SEEDS)
    assert scores.keys() == NAMES[run.settings.model.family]
    turned = torch.tensor([3, 0, 5])
    parts = model.membership_scores(batch[turned], SEEDS)
    for name, values in scores.items():
        assert values.shape == (len(batch),) and values.isfinite().all() and not values.requires_grad
        assert len(values.unique()) > 1
        assert torch.allclose(parts[name], values[turned], rtol=1e-3, atol=TOLERANCE["float32"]), name
        assert torch.equal(model.membership_scores(batch, SEEDS)[name], values)


def test_what_a_copy_learns_is_seen_in_its_scores_and_the_model_stays_as_it_is(run, model):
    canaries, others = np.arange(SPLIT["train"], SPLIT["train"] + 2), np.arange(SPLIT["train"] + 2, SPLIT["train"] + 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options, trained_by = Membership(repeats=60), run.settings.model.training
    learner = taught(model, run.store, canaries, np.arange(SPLIT["train"]), options, trained_by, seed=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in learner.parameters())
    batch = run.batch("val")
    gains = []
    for name, scores in learner.membership_scores(batch, SEEDS).items():
        gain = (scores - model.membership_scores(batch, SEEDS)[name]).numpy()
        assert gain.std() > 0 or name.startswith("autoencoder_")  # which is frozen
        gains.append(gain[canaries - SPLIT["train"]].mean() - gain[others - SPLIT["train"]].mean())
    assert max(gains) > 0


def test_a_family_has_neither_by_default():
    model = PrototypeModel(Prototype(family="prototype"), spec_of(toy_store("categorical", 2).info), {})
    batch = Batch(model.spec.conditions.nothing(2), torch.zeros(2, 1, 8, 8))
    assert model.membership_scores(batch, SEEDS) == {} and model.canary_loss(batch) is None
