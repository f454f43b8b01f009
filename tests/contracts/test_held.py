"""Every family that `holds` keeps what lies outside of a region, in 2D and 3D; the others say that they cannot."""

import numpy as np
import pytest
import torch

from medsynth import registry
from medsynth.artifacts.store import to_stored
from medsynth.errors import InputError
from medsynth.models.checkpoint import spec_of
from medsynth.models.contract import Batch, build
from medsynth.models.generation import Held, generate
from medsynth.sample.sample import TOLERANCE
from tests.contracts.examples import EXAMPLES, Trained, settings_of, toy_store

HOLDING = [name for name, entry in registry.FAMILIES.items() if entry.load().holds]
COMBINATIONS = [
    pytest.param((family, "lesions", dims), id=f"{family}-{dims}d", marks=pytest.mark.xdist_group(f"lesions-{dims}d"))
    for dims in (2, 3)
    for family in HOLDING
]
SEEDS = (5, 6, 7)


@pytest.fixture(scope="module", params=COMBINATIONS)
def run(request, trained) -> Trained:
    return trained(*request.param)


@pytest.fixture(scope="module")
def real(run) -> Batch:
    """Three held-out images."""
    return run.batch("val")[slice(3)]


def region_of(batch: Batch) -> torch.Tensor:
    """A block off the grid of the coarse stage, its border half drawn: 1, 0.5 and 0."""
    region = torch.zeros(len(batch), *batch.image.shape[2:])
    region[(slice(None), *[slice(1, 6)] * (region.ndim - 1))] = 0.5
    region[(slice(None), *[slice(2, 5)] * (region.ndim - 1))] = 1
    return region


def draw(run: Trained, model, batch: Batch, region: torch.Tensor, seeds=SEEDS) -> torch.Tensor:
    return model.sample(Batch(batch.condition, batch.image, region=region), seeds, run.settings.model.sampler)


def test_the_image_outside_of_the_region_is_the_held_one_to_the_bit(run, model, real):
    region = region_of(real)
    drawn = draw(run, model, real, region)
    outside = (region == 0)[:, None].expand_as(drawn)
    assert torch.equal(drawn[outside], real.image[outside])
    stored = run.store.split("val").images[:3]
    assert np.array_equal(to_stored(drawn.numpy())[outside.numpy()], stored[outside.numpy()])
    assert drawn.abs().max() <= 1


def test_the_region_is_drawn_anew_by_the_seed(run, model, real):
    region = region_of(real)
    drawn, other = draw(run, model, real, region), draw(run, model, real, region, (8, 9, 10))
    for inside in ((region == 1)[:, None], (region == 0.5)[:, None]):
        for row in range(3):
            assert (drawn - real.image)[row][inside[row]].abs().max() > 10 * TOLERANCE["float32"]
            assert (drawn - other)[row][inside[row]].abs().max() > 10 * TOLERANCE["float32"]
    assert torch.equal(draw(run, model, real, region), drawn)


def test_nothing_drawn_is_the_held_image_and_all_drawn_is_the_ordinary_sample(run, model, real):
    nothing = torch.zeros(len(real), *real.image.shape[2:])
    assert torch.equal(draw(run, model, real, nothing), real.image)
    whole = model.sample(Batch(real.condition), SEEDS, run.settings.model.sampler)
    assert torch.equal(draw(run, model, real, nothing + 1), whole)


def test_batch_size_and_order_do_not_change_what_is_drawn(run, model, real):
    region = region_of(real)
    region[1] = region[1].roll(1, 0)
    drawn, turned = draw(run, model, real, region), torch.tensor([2, 0, 1])
    batch = Batch(real.condition, real.image, region=region)
    for rows in (torch.tensor([1]), turned):
        part = model.sample(batch[rows], [SEEDS[row] for row in rows], run.settings.model.sampler)
        assert (part - drawn[rows]).abs().max() <= TOLERANCE["float32"] / 2


@pytest.mark.parametrize("family", [family for family in EXAMPLES if family not in HOLDING])
def test_a_family_that_cannot_hold_is_named(family):
    store, settings = toy_store("lesions", 2, EXAMPLES[family].side), settings_of(family)
    model = build(settings.model, spec_of(store.info), settings.parents)
    rows = store.split("val").samples.assign(sample_id="d-m-0", seed="1")
    held = Held(store.split("val").images, np.ones((len(rows), *store.info.size), np.float32))
    with pytest.raises(InputError, match=f"a {family} model cannot hold an image.*expected one of diffusion"):
        generate(model, store.info.condition_schema, rows, settings.model.sampler, None, held)


def test_a_region_needs_an_image_of_its_shape(real):
    with pytest.raises(ValueError, match="the image that it holds is None"):
        Batch(real.condition, region=region_of(real))
    with pytest.raises(ValueError, match=r"region is \(2, "):
        Batch(real.condition, real.image, region=region_of(real)[:2])
