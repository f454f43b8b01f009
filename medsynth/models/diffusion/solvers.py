"""From noise to data along the probability-flow ODE: noise levels and the methods that step through them.

Equation and algorithm numbers are of Karras et al. 2022 ("EDM") where no other paper is named.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from medsynth.config.families.diffusion import DiffusionSampler

Denoise = Callable[[Tensor, Tensor], Tensor]  # (N, C, *spatial) at one noise level → the expected clean data


def schedule(settings: DiffusionSampler, stage: int) -> tuple[int, float, float]:
    """Steps, highest and lowest noise level of a stage, from the coarsest; a last entry serves all later ones."""
    high, low = (levels[min(stage, len(levels) - 1)] for levels in (settings.sigma_max, settings.sigma_min))
    return settings.steps[min(stage, len(settings.steps) - 1)], high, low


def noise_levels(steps: int, sigma_max: float, sigma_min: float, rho: float) -> Tensor:
    """Falling from sigma_max to sigma_min, then 0 (Eq. 5): (steps + 1,)."""
    ramp = torch.linspace(0, 1, steps)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's 2nd-order method (Algorithm 1).

    Args:
        x: (N, C, *spatial) noise scaled by sigmas[0].
        sigmas: (steps + 1,) falling to 0.
    """
    for sigma, following in pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (following - sigma) * slope
        if following == 0:
            return euler
        x = x + (following - sigma) * (slope + (euler - denoise(euler, following)) / following) / 2
    return x


def dpm_solver(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2): second order at one evaluation a step, the last one saved for x0.

    Args: as `heun`.
    """
    before: Tensor | None = None
    last_step = torch.zeros(())
    for sigma, following in pairwise(sigmas):
        denoised = denoise(x, sigma)
        if following == 0:
            return denoised
        step = (sigma / following).log()
        estimate = denoised
        if before is not None:
            ratio = step / last_step / 2
            estimate = (1 + ratio) * denoised - ratio * before
        x = following / sigma * x - torch.expm1(-step) * estimate
        before, last_step = denoised, step
    return x


SOLVERS: dict[str, Callable[[Denoise, Tensor, Tensor], Tensor]] = {"heun": heun, "dpm_solver": dpm_solver}
