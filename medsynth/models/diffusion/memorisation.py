"""What tells images that a cascade learnt from others: how well each stage takes noise from them.

Training lowers the denoising loss of training images below that of others (Carlini et al. 2023, section 5.2; Matsumoto
et al. 2023). Some images are harder than others, which is calibrated by the loss of a model that knows them less: the
early state that autoguidance moves away from (Watson et al. 2022). SimA asks once, at the image itself and a small
noise level: the noise that is predicted there is smaller near what was learnt (Rao, Qu & Moyer 2025, "Score-based
membership inference on diffusion models").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from medsynth.models.contract import Batch
from medsynth.models.diffusion.denoiser import Given, append_dims

if TYPE_CHECKING:
    from medsynth.models.families.diffusion import DiffusionModel

LEVELS = (0.1, 0.3, 1.0)  # noise levels of the losses, in standard deviations of the data
SIMA_LEVEL = 0.1
NORM = 4  # p of SimA's norm, as in its authors' code


@torch.no_grad()
def membership_scores(model: DiffusionModel, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Scores (N,) of every stage, each given the true coarser image, without noise on it."""
    assert batch.image is not None
    found: dict[str, Tensor] = {}
    for index, (bands, coarse) in enumerate(model.pyramid.encode(batch.image)):
        stage, name = model.stages[index], model.of_stages[index].name
        latent, given = stage.to_latent(bands), model.given(index, batch, coarse)
        noises = [_noise(seed, latent) for seed in seeds]
        losses = _losses(stage, latent, given, noises)
        found |= {f"{name}_loss_{level:g}": -loss for level, loss in losses.items()}
        if model.guide is not None:
            early = _losses(model.guide.stages[index], latent, given, noises)
            found |= {f"{name}_calibrated_{level:g}": early[level] - loss for level, loss in losses.items()}
        found[f"{name}_sima"] = -_predicted_noise(stage, latent, given)
    return found


def _losses(stage: nn.Module, latent: Tensor, given: Given, noises: Sequence[Tensor]) -> dict[float, Tensor]:
    """Noise level → the loss (N,), its mean over draws of noise (1, C, *spatial)."""
    found = {}
    for level in LEVELS:
        sigma = level * stage.sigma_data.mean().expand(len(latent))
        noisy = (latent + append_dims(sigma, latent.ndim) * noise for noise in noises)
        found[level] = torch.stack([stage.error(stage(x, sigma, given), latent, sigma) for x in noisy]).mean(0)
    return found


def _predicted_noise(stage: nn.Module, latent: Tensor, given: Given) -> Tensor:
    """SimA's norm (N,), to the power NORM, for each value."""
    sigma = SIMA_LEVEL * stage.sigma_data.mean().expand(len(latent))
    predicted = (latent - stage(latent, sigma, given)) / append_dims(sigma, latent.ndim)
    return predicted.abs().pow(NORM).flatten(1).mean(1)


def _noise(seed: int, like: Tensor) -> Tensor:
    """(1, C, *spatial) standard normal, the same for all images."""
    drawn = np.random.Generator(np.random.Philox(seed)).standard_normal((1, *like.shape[1:]), np.float32)
    return torch.from_numpy(drawn).to(like.device)
