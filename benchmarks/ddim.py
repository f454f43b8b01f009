"""DDIM for networks that predict the noise of a discrete variance-preserving schedule.

It stands here because MONAI 1.6.1 places its timesteps by linspace and steps by a fixed stride. In the variables of
Karras et al. 2022, x / sqrt(abar) and sigma = sqrt((1 - abar) / abar), a DDIM step is an Euler step, so that the
solvers of `medsynth.models.diffusion` serve as well.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from medsynth.models.diffusion.solvers import Denoise, dpm_solver

PredictNoise = Callable[[Tensor, Tensor], Tensor]


def ddim(denoiser: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Song et al. 2021, Eq. 12 with no added noise: x0 + (sigma' / sigma) (x - x0).

    Args: as `medsynth.models.diffusion.solvers.heun`.
    """
    for sigma, following in pairwise(sigmas):
        denoised = denoiser(x, sigma)
        x = denoised + following / sigma * (x - denoised)
    return x


def sample(
    predict_noise: PredictNoise, noise: Tensor, alphas_cumprod: Tensor, steps: int, solver: str, clip: bool = True
) -> Tensor:
    """Turn noise into images.

    Args:
        predict_noise: epsilon(x_t, t) of x_t (N, C, *spatial) and t (N,).
        noise: (N, C, *spatial) from N(0, 1).
        alphas_cumprod: (T,) falling; its value before t = 0 is 1.
        clip: keep the predicted image within [-1, 1], as both peers do.
    """
    times = torch.linspace(-1, len(alphas_cumprod) - 1, steps + 1).round().long().flip(0)[:-1]
    alphas_cumprod = alphas_cumprod.to(noise.device)
    sigmas = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()[times]
    time_of = dict(zip(sigmas.tolist(), times.tolist(), strict=True))

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        scale = (1 + sigma**2).sqrt()  # 1 / sqrt(abar)
        t = torch.full((len(x),), time_of[float(sigma)], device=x.device)
        denoised = x - sigma * predict_noise(x / scale, t)
        return denoised.clamp(-1, 1) if clip else denoised

    start = noise * (1 + sigmas[0] ** 2).sqrt()
    return SOLVERS[solver](denoiser, start, torch.cat([sigmas, sigmas.new_zeros(1)]))


SOLVERS = {"ddim": ddim, "dpm_solver": dpm_solver}
