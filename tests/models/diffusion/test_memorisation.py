"""Scores of denoisers that are known in closed form."""

import copy

import pytest
import torch

from medsynth.models.checkpoint import spec_of
from medsynth.models.contract import Batch, build
from medsynth.models.diffusion.memorisation import LEVELS, SIMA_LEVEL, membership_scores
from tests.contracts.examples import settings_of, toy_store

SEEDS = (1, 2, 3, 4)


@pytest.fixture
def model():
    """One stage of untouched pixels, whose statistics are those of nothing: latents are the images."""
    settings = settings_of("diffusion", stages=[{"channels": [8]}])
    return build(settings.model, spec_of(toy_store("categorical", 2).info))


def scores_with(model, monkeypatch, denoise) -> dict[str, torch.Tensor]:
    """By a stage whose network is replaced: the images are a half in all pixels, and minus one."""
    monkeypatch.setattr(model.stages[0], "forward", lambda x, sigma, given: denoise(x))
    images = torch.tensor([0.5, -1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8).contiguous()
    return membership_scores(model, Batch(model.spec.conditions.nothing(2), images), SEEDS)


def test_a_denoiser_that_leaves_all_noise_loses_the_noise_that_all_images_share(model, monkeypatch):
    found = scores_with(model, monkeypatch, lambda x: x)
    power = -found["stage_1_loss_1"] / 2  # (sigma^2 + 1) / sigma^2 times sigma^2 times the noise's power
    assert power[0] == pytest.approx(power[1]) and power[0] == pytest.approx(1, abs=0.3)  # 256 draws
    for level in LEVELS:
        assert torch.allclose(found[f"stage_1_loss_{level:g}"], -(level**2 + 1) * power)
    assert torch.equal(found["stage_1_sima"], torch.zeros(2))


def test_one_that_gives_the_mean_has_the_loss_and_the_norm_of_the_image(model, monkeypatch):
    found = scores_with(model, monkeypatch, torch.zeros_like)
    images = torch.tensor([0.5, 1.0])
    for level in LEVELS:
        assert torch.allclose(found[f"stage_1_loss_{level:g}"], -(level**2 + 1) / level**2 * images**2)
    assert torch.allclose(found["stage_1_sima"], -((images / SIMA_LEVEL) ** 4))


def test_a_calibrated_loss_is_what_was_gained_since_the_early_state(model, monkeypatch):
    assert not any("calibrated" in name for name in scores_with(model, monkeypatch, torch.zeros_like))
    model.guide = copy.deepcopy(model)
    monkeypatch.setattr(model.guide.stages[0], "forward", lambda x, sigma, given: torch.full_like(x, 0.5))
    found = scores_with(model, monkeypatch, torch.zeros_like)
    gained = torch.tensor([0.0 - 0.25, 2.25 - 1.0])  # squared errors of the images 0.5 and -1: by 0.5, then by 0
    for level in LEVELS:
        assert torch.allclose(found[f"stage_1_calibrated_{level:g}"], (level**2 + 1) / level**2 * gained)
