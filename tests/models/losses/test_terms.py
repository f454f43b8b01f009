import pytest
import torch

from medsynth.config import TrainSettings
from medsynth.models.checkpoint import spec_of
from medsynth.models.contract import Batch, build
from medsynth.models.families.diffusion import DiffusionModel
from medsynth.train.batches import Examples

CPU = torch.device("cpu")


@pytest.mark.parametrize("stages", [1, 2])
def test_a_loss_acts_below_its_noise_level_alone(store, monkeypatch, stages):
    batch = Examples(store.split("train"), CPU).gather(range(32))
    terms = {}
    for below in (1e-9, 0.5, None):
        losses = {"charbonnier": {"weight": 2, "below": below}}
        settings = {"family": "diffusion", "stages": [{"channels": [8]}] * stages, "losses": losses}
        model = build(TrainSettings(seed=0, model=settings).model, spec_of(store.info))
        name = f"stage_{stages}"
        levels, attempt = [], model.stages[-1].attempt

        def noting(*args, attempt=attempt, levels=levels):
            levels.append((found := attempt(*args))[1])
            return found

        monkeypatch.setattr(model.stages[-1], "attempt", noting)
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.1)
        torch.manual_seed(1)
        terms[below] = model.loss(batch, name)
        assert terms[below].keys() == {name, f"{name}_charbonnier"}
        assert model.term_weights[f"{name}_charbonnier"] == 2
    none, some, everywhere = (terms[below][f"{name}_charbonnier"] for below in terms)
    acts = levels[0] < 0.5
    assert 0 < acts.sum() < 32 and (everywhere > 0).all()
    assert not none.any() and torch.equal(some, torch.where(acts, everywhere, 0))


def test_a_held_out_score_is_that_of_the_models_own_loss(store):
    batch = Examples(store.split("train"), CPU).gather(range(8))
    scores = []
    for losses in ({}, {"charbonnier": {"weight": 2}, "perceptual": {"weight": 1}}):
        torch.manual_seed(0)
        settings = {"family": "diffusion", "stages": [{"channels": [8]}] * 2, "losses": losses}
        model = build(TrainSettings(seed=0, model=settings).model, spec_of(store.info))
        torch.manual_seed(1)
        scores.append(model.score(batch))
    assert torch.equal(*scores)  # and no network was built, or looked through


@pytest.mark.parametrize(("stages", "shapes"), [(1, [(16, 16)]), (3, [(4, 4), (8, 8), (16, 16)])])
def test_losses_are_told_the_shapes_of_the_images_of_each_stage(store, monkeypatch, stages, shapes):
    losses = {"charbonnier": {"weight": 1}}
    settings = {"family": "diffusion", "stages": [{"channels": [8]}] * stages, "losses": losses}
    model = build(TrainSettings(seed=0, model=settings).model, spec_of(store.info))
    assert isinstance(model, DiffusionModel)
    told, seen = [], []
    monkeypatch.setattr(model.terms, "begin", lambda batches, images, shapes: told.extend(shapes))
    model.terms.functions["charbonnier"] = lambda image, batch: seen.append(tuple(image.shape[2:])) or image[:, 0, 0, 0]
    model.train_losses(iter(()), 100)
    batch: Batch = Examples(store.split("train"), CPU).gather(range(4))
    for phase in model.phases:
        model.loss(batch, phase.name)
    assert told == seen == shapes
