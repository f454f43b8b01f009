"""Guidance: where a denoiser is pushed, beside what it says itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.models.diffusion.solvers import Denoise

Push = tuple[float, Denoise]  # strength, and what is moved away from


def within(settings: DiffusionSampler, sigma: float) -> bool:
    """Whether guidance acts at a noise level."""
    low, high = settings.guided
    return low <= sigma <= high


def breaks(settings: DiffusionSampler, sigmas: Tensor) -> set[int]:
    """Steps along falling noise levels (steps + 1,) from which guidance begins or ends to act."""
    acts = [within(settings, float(sigma)) for sigma in sigmas]
    return {step + 1 for step, (before, now) in enumerate(pairwise(acts)) if before != now}


def guided(denoise: Denoise, pushes: Sequence[Push], settings: DiffusionSampler) -> Denoise:
    """The denoiser moved away from others, each by its own strength, within the guided noise levels.

    D + sum of (w - 1) (D - D_other): for one push, classifier-free guidance (Ho & Salimans 2022, Eq. 6) or
    autoguidance (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", Eq. 3). Several pushes
    add up, so that none multiplies another.
    """

    def denoise_guided(x: Tensor, sigma: Tensor) -> Tensor:
        own = denoise(x, sigma)
        if not within(settings, float(sigma)):
            return own
        moved = torch.zeros_like(own)
        for strength, other in pushes:
            moved += (strength - 1) * (own - other(x, sigma))
        return own + moved

    return denoise_guided
