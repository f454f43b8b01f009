"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020): real and drawn images alike."""

from __future__ import annotations

import torch
from torch import Tensor

SHIFT = 1 / 8  # largest, as a share of the image
CUT = 1 / 2  # side of what is cut out, as a share of the image


def augmented_pairs(images: list[Tensor], planes: Tensor, probability: float | Tensor) -> tuple[list[Tensor], Tensor]:
    """Brightness, contrast, shift and cut, each drawn for every position of the batch and the same in all images of it.

    Args:
        images: (N, C, *spatial) each.
        planes: (N, P, *spatial) at the same resolution, which move with them.
        probability: that a position is changed.
    """
    count, channels = images[0].shape[:2]
    shape, device = images[0].shape[2:], images[0].device
    ones = [1] * len(shape)

    def uniform(*size: int) -> Tensor:
        return torch.rand(count, *size, device=device)

    chosen = (uniform() < probability).float()
    brightness = (chosen * (uniform() - 0.5)).view(-1, 1, *ones)
    contrast = (1 + chosen * (uniform() - 0.5)).view(-1, 1, *ones)
    largest = torch.tensor([round(SHIFT * extent) for extent in shape], device=device)
    offsets = (chosen[:, None] * ((2 * uniform(len(shape)) - 1) * (largest + 0.5)).round()).long()
    kept = 1 - chosen.view(-1, 1, *ones) * _box(uniform(len(shape)), shape)
    changed = []
    for image in images:
        mean = image.flatten(1).mean(1).view(-1, 1, *ones)
        changed.append(image * contrast + mean * (1 - contrast) + brightness)
    moved = _shifted(torch.cat([*changed, planes], 1), offsets)
    parts = moved.split([*[channels] * len(images), planes.shape[1]], 1)
    return [part * kept for part in parts[:-1]], parts[-1]


def _shifted(x: Tensor, offsets: Tensor) -> Tensor:
    """Each image moved by its (d,) whole pixels, zero where nothing comes from."""
    for axis in range(x.ndim - 2):
        extent = x.shape[axis + 2]
        ones = [1] * axis, [1] * (x.ndim - 3 - axis)
        source = torch.arange(extent, device=x.device) - offsets[:, axis, None]  # (N, extent)
        inside = ((source >= 0) & (source < extent)).view(-1, 1, *ones[0], extent, *ones[1])
        source = source.clamp(0, extent - 1).view(-1, 1, *ones[0], extent, *ones[1])
        x = torch.take_along_dim(x, source.expand(-1, *x.shape[1:]), axis + 2) * inside
    return x


def _box(place: Tensor, shape: torch.Size) -> Tensor:
    """(N, 1, *spatial) 1 in a box around a place, (N, d) fractions of the image, else 0."""
    box = place.new_ones(len(place), 1, *[1] * len(shape))
    for axis, extent in enumerate(shape):
        positions = (torch.arange(extent, device=place.device) + 0.5) / extent
        near = ((positions - place[:, axis, None]).abs() < CUT / 2).float()
        box = box * near.view(-1, 1, *[1] * axis, extent, *[1] * (len(shape) - 1 - axis))
    return box
