"""Stages that learn from patches, know where these lie, and draw whole images at once or in windows."""

from dataclasses import replace

import pytest
import torch

from medsynth.config.families.diffusion import Diffusion, DiffusionSampler, Stage
from medsynth.models.contract import Batch, build
from medsynth.models.diffusion.windows import in_windows, random_window, sides_of, with_positions
from tests.models.families.test_diffusion import spec

CODEC = {"kind": "identity", "levels": 0}


def test_positions_are_the_centres_of_the_cells():
    planes = with_positions(torch.zeros(2, 1, 4, 2))
    assert planes.shape == (2, 3, 4, 2)
    torch.testing.assert_close(planes[1, 1, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(planes[0, 2, 3], torch.tensor([-0.5, 0.5]))


def test_patches_begin_at_multiples_of_the_step_and_come_from_everywhere():
    stage = Stage(channels=(8, 8), patch=0.5)
    torch.manual_seed(0)
    windows = {tuple(part.start for part in random_window(stage, (16, 8, 12))[2:]) for _ in range(400)}
    assert windows == {(z, y, x) for z in range(0, 9, 2) for y in range(0, 5, 2) for x in range(0, 7, 2)}
    assert sides_of(stage, (16, 8, 12)) == (8, 4, 6)


@pytest.mark.parametrize("shape", [(8, 12), (8, 4, 12)])
def test_windows_of_what_each_place_knows_alone_are_the_whole(shape):
    """A denoiser without context gives the same in any window."""
    noisy = torch.randn(2, 3, *shape)
    drawn = in_windows(lambda place: noisy[place].sin(), noisy, Stage(channels=(8, 8), patch=0.5))
    torch.testing.assert_close(drawn, noisy.sin())


def halves(dims: int, size: int, count: int) -> torch.Tensor:
    """Dark on the left, bright on the right, with noise: what a patch shows depends on where it lies alone."""
    image = torch.full((count, 1, *[size] * dims), -0.5)
    image[..., size // 2 :] = 0.5
    return image + 0.1 * torch.randn_like(image)


def trained(positions: bool, dims: int = 3, size: int = 8, stages: int = 1, steps: int = 120):
    torch.manual_seed(0)
    stage = {"channels": [16, 16], "patch": 0.5, "positions": positions}
    settings = Diffusion(family="diffusion", stages=[stage] * stages, codec=CODEC, p_mean=1.0)
    model = build(settings, spec(dims, size))
    model.begin([halves(dims, size, 256)], {})
    optimiser = torch.optim.Adam(model.parameters(), 4e-3)
    condition = model.spec.conditions.nothing(16)
    for _ in range(steps):
        batch = Batch(condition, halves(dims, size, 16))
        loss = torch.stack([model.loss(batch, phase.name)[phase.name].mean() for phase in model.phases]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.fixture(scope="module")
def model():
    return trained(positions=True)


@pytest.mark.parametrize("windows", [False, True])
def test_a_whole_volume_is_drawn_at_once_or_in_windows(model, windows):
    condition = model.spec.conditions.nothing(8)
    chosen = DiffusionSampler(steps=(12,), autoguidance=1, windows=windows)
    drawn = model.sample(Batch(condition), list(range(8)), chosen)
    assert drawn.shape == (8, 1, 8, 8, 8)
    left, right = drawn[..., :4].mean((1, 2, 3, 4)), drawn[..., 4:].mean((1, 2, 3, 4))
    assert (right - left).min() > 0.5  # 1 in the training images


def test_windows_are_what_the_network_sees(model, monkeypatch):
    seen = set()
    forward = model.stages[0].unet.forward
    monkeypatch.setattr(
        model.stages[0].unet, "forward", lambda x, told: seen.add(tuple(x.shape[2:])) or forward(x, told)
    )
    for windows in (True, False):
        chosen = DiffusionSampler(steps=(2,), autoguidance=1, windows=windows)
        model.sample(Batch(model.spec.conditions.nothing(1)), [0], chosen)
        assert seen == {(4, 4, 4) if windows else (8, 8, 8)}
        seen.clear()


def test_a_patch_without_its_place_is_not_known(model):
    """At high noise nothing but its place tells what a patch shows: without it, the loss is that of the mean image."""
    without = trained(positions=False)
    torch.manual_seed(1)
    latent = model.stages[0].to_latent(model.pyramid.encode(halves(3, 8, 64))[0][0])
    sigma = torch.full((64,), 40.0)
    condition, errors = model.spec.conditions.nothing(64), []
    place = random_window(model.settings_of_stages[0], (8, 8, 8))
    noise = sigma[0] * torch.randn_like(latent)
    for each in (model, without):
        given = each.given(0, Batch(condition), None).at(place)
        with torch.no_grad():
            errors.append((each.stages[0]((latent + noise)[place], sigma, given) - latent[place]).square().mean())
    assert errors[0] < 0.3 * errors[1]


def test_every_stage_of_a_cascade_may_have_patches_positions_and_a_discriminator():
    torch.manual_seed(0)
    stages = [{"channels": [8]}, {"channels": [8], "patch": 0.5, "positions": True}]
    adversarial = {"channels": [8], "start": 0.0}
    settings = Diffusion(family="diffusion", stages=stages, codec=CODEC, adversarial=adversarial)
    model = build(settings, spec(3, 8))
    model.begin([halves(3, 8, 8)], {})
    batch = replace(Batch(model.spec.conditions.nothing(4), halves(3, 8, 4)), progress=1.0)
    for phase in model.phases:
        assert all(torch.isfinite(term).all() for term in model.loss(batch, phase.name).values())
