from itertools import product

import pytest
import torch

from medsynth.config import TrainSettings
from medsynth.models.checkpoint import spec_of
from medsynth.models.contract import Batch, build
from medsynth.models.losses import charbonnier, edge
from medsynth.train.batches import Examples

CPU = torch.device("cpu")


def charb(error: float) -> float:
    return (error**2 + 1e-6) ** 0.5 - 1e-3


def beside(target: torch.Tensor) -> Batch:
    return Batch(None, target)


@pytest.mark.parametrize("dims", [2, 3])
def test_charbonnier_of_a_constant_error_is_its_closed_form(dims):
    target = torch.rand(3, 2, *[8] * dims)
    errors = torch.tensor([0.0, 0.5, -1e-3]).view(3, *[1] * (dims + 1))
    found = charbonnier(target + errors, beside(target))
    assert found.tolist() == pytest.approx([0, charb(0.5), 1e-3 * (2**0.5 - 1)], abs=1e-6)


@pytest.mark.parametrize(("dims", "side"), product([2, 3], [16, 8, 4]))
def test_edge_of_a_ramp_is_its_slope_at_each_scale_over_the_axes(dims, side):
    """A ramp's slope doubles with every average of two; scales end below four voxels, and after three."""
    slopes = torch.tensor([0.0, 0.02, -0.05])
    ramp = torch.arange(float(side)).view(side, *[1] * (dims - 1)).expand(*[side] * dims)
    image = slopes.view(3, 1, *[1] * dims) * ramp
    scales = {16: 3, 8: 2, 4: 1}[side]
    expected = [sum(charb(slope * 2**scale) for scale in range(scales)) / dims / scales for slope in slopes.tolist()]
    assert edge(image, beside(torch.full_like(image, 0.7))).tolist() == pytest.approx(expected, abs=1e-6)


def test_images_too_small_for_a_scale_have_no_edge_loss():
    assert edge(torch.rand(2, 1, 2, 2), beside(torch.zeros(2, 1, 2, 2))).tolist() == [0, 0]


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
