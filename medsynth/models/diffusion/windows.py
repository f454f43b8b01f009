"""Stages that learn from patches: the patch of a step, where it lies, and whole images drawn in windows of its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medsynth.config.families.diffusion import Stage
from medsynth.models.contract import ALL, Place


def step_of(stage: Stage) -> int:
    """What sides and places of patches are multiples of: what the network halves."""
    return 2 ** (len(stage.channels) - 1)


def sides_of(stage: Stage, shape: Sequence[int]) -> tuple[int, ...]:
    """The sides of a stage's patches in images of (*spatial) as it sees them."""
    step = step_of(stage)
    return tuple(max(1, round(stage.patch * extent / step)) * step for extent in shape)


def random_window(stage: Stage, shape: Sequence[int]) -> Place:
    """The patch that a stage learns from in one step, the same in all images.

    Args:
        shape: (*spatial) of the images as the stage sees them.
    """
    window, step = [*ALL], step_of(stage)
    for side, extent in zip(sides_of(stage, shape), shape, strict=True):
        first = step * int(torch.randint((extent - side) // step + 1, ())) if side < extent else 0
        window.append(slice(first, first + side))
    return tuple(window)


def with_positions(planes: Tensor) -> Tensor:
    """(N, P, *spatial) and, after these planes, where each place lies along each axis: from -1 to 1, at its centre."""
    shape = planes.shape[2:]
    axes = [(2 * torch.arange(extent, device=planes.device) + 1) / extent - 1 for extent in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([planes, places.expand(len(planes), *places.shape)], 1)


def in_windows(denoise: Callable[[Place], Tensor], noisy: Tensor, stage: Stage) -> Tensor:
    """What a denoiser expects of whole images (N, C, *spatial), shown in windows of the size of the stage's patches.

    Windows overlap by about a half. There, their mean by Gaussian weights is taken, at every noise level, so that they
    draw one image (Bar-Tal et al. 2023, "MultiDiffusion", Eq. 5).

    Args:
        denoise: the place of a window in `noisy` → what is expected there.
    """
    from monai.data.utils import compute_importance_map, dense_patch_slices  # slow to import, and seldom needed

    shape = tuple(noisy.shape[2:])
    sides, step = sides_of(stage, shape), step_of(stage)
    if sides == shape:
        return denoise(())
    every = tuple(max(1, side // 2 // step) * step for side in sides)  # windows begin as patches do
    weight = compute_importance_map(sides, mode="gaussian", device=noisy.device, dtype=torch.float32)
    total, weights = torch.zeros_like(noisy, dtype=torch.float32), torch.zeros(shape, device=noisy.device)
    for place in dense_patch_slices(shape, sides, every):
        total[(*ALL, *place)] += weight * denoise((*ALL, *place))
        weights[place] += weight
    return total / weights
