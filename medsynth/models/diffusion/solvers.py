"""From noise to data along the probability-flow ODE: noise levels and the methods that step through them.

Equation and algorithm numbers are of Karras et al. 2022 ("EDM") where no other paper is named.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from itertools import pairwise

import torch
from torch import Tensor

from medsynth.config.families.diffusion import DiffusionSampler

Denoise = Callable[[Tensor, Tensor], Tensor]  # (N, C, *spatial) at one noise level → the expected clean data
NO_BREAKS: Set[int] = frozenset()


def schedule(settings: DiffusionSampler, stage: int) -> tuple[int, float, float]:
    """Steps, highest and lowest noise level of a stage, from the coarsest; a last entry serves all later ones."""
    high, low = (levels[min(stage, len(levels) - 1)] for levels in (settings.sigma_max, settings.sigma_min))
    return settings.steps[min(stage, len(settings.steps) - 1)], high, low


def noise_levels(steps: int, sigma_max: float, sigma_min: float, rho: float) -> Tensor:
    """Falling from sigma_max to sigma_min, then 0 (Eq. 5): (steps + 1,)."""
    ramp = torch.linspace(0, 1, steps)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor, breaks: Set[int] = NO_BREAKS) -> Tensor:
    """Euler's 1st-order method, which is DDIM (Song et al. 2021, Eq. 13; Algorithm 1 without its correction).

    Args:
        x: (N, C, *spatial) noise scaled by sigmas[0].
        sigmas: (steps + 1,) falling to 0.
        breaks: steps from which `denoise` is another function than before, as at an end of the guided interval.
    """
    for sigma, following in pairwise(sigmas):
        x = x + (following / sigma - 1) * (x - denoise(x, sigma))
    return x


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, breaks: Set[int] = NO_BREAKS) -> Tensor:
    """Heun's 2nd-order method (Algorithm 1); of first order in a step that ends at a break.

    Args: as `euler`.
    """
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        slope = (x - denoise(x, sigma)) / sigma
        there = x + (following - sigma) * slope
        if following == 0:
            return there
        if step + 1 not in breaks:
            there = x + (following - sigma) * (slope + (there - denoise(there, following)) / following) / 2
        x = there
    return x


def dpm_solver(denoise: Denoise, x: Tensor, sigmas: Tensor, breaks: Set[int] = NO_BREAKS) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2): second order at one evaluation a step, the last one saved for x0.

    What was denoised before a break is not extrapolated from: the step there is of first order.

    Args: as `euler`.
    """
    before: Tensor | None = None
    last_step = torch.zeros(())
    for index, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if following == 0:
            return denoised
        step = (sigma / following).log()
        estimate = denoised
        if before is not None and index not in breaks:
            ratio = step / last_step / 2
            estimate = (1 + ratio) * denoised - ratio * before
        x = following / sigma * x - torch.expm1(-step) * estimate
        before, last_step = denoised, step
    return x


Solver = Callable[[Denoise, Tensor, Tensor, Set[int]], Tensor]
SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun, "dpm_solver": dpm_solver}
