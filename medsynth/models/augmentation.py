"""Geometric augmentation of a batch: what is asked for moves with the image, and the network is told what was done.

Telling it keeps the augmentation out of the samples (Karras et al. 2022, appendix F.2, after Karras et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth.conditions.schema import ConditionSchema
from medsynth.config.training import Augmentation
from medsynth.models.contract import Batch


def augment(batch: Batch, schema: ConditionSchema, settings: Augmentation, flip_axes: Sequence[int]) -> Batch:
    """Shift, rotate, scale and mirror a random part of the batch, masks and lesions with their images.

    Args:
        flip_axes: axes of (*spatial) that may be mirrored.
    Returns:
        The batch with `augmentation` features (N, A): the entries of the affine matrix, identity subtracted; zero for
        an image left as it was.
    """
    image, mask = batch.image, batch.mask
    assert image is not None
    dims = image.ndim - 2
    matrix = _random_matrix(len(image), image.shape[2:], settings, flip_axes, image.device)
    features = (matrix - torch.eye(dims, dims + 1, device=image.device)).flatten(1)
    changed = features.abs().sum(1) > 0
    if not changed.any():
        return replace(batch, augmentation=features)
    grid = F.affine_grid(matrix[changed], [int(changed.sum()), *image.shape[1:]], align_corners=False)
    image = image.clone()
    image[changed] = F.grid_sample(image[changed], grid, padding_mode="reflection", align_corners=False)
    if mask is not None:
        mask = mask.clone()
        labels = mask[changed, None].to(image.dtype)
        moved = F.grid_sample(labels, grid, mode="nearest", padding_mode="reflection", align_corners=False)
        mask[changed] = moved[:, 0].to(mask.dtype)
    return replace(batch, image=image, condition=schema.moved(batch.condition, matrix, mask), augmentation=features)


def _random_matrix(
    count: int, shape: Sequence[int], settings: Augmentation, flip_axes: Sequence[int], device: torch.device
) -> Tensor:
    """(count, d, d + 1): output position → input position, in [-1, 1] with x first, as `affine_grid` takes it."""
    dims = len(shape)

    def uniform(*size: int) -> Tensor:
        return 2 * torch.rand(count, *size, device=device) - 1

    scale = (math.log1p(settings.scale) * uniform(1, 1)).exp()
    linear = torch.eye(dims, device=device) * scale
    for first in range(dims):
        for second in range(first + 1, dims):
            angle = math.radians(settings.rotation_degrees) * uniform()
            turn = torch.eye(dims, device=device).repeat(count, 1, 1)
            turn[:, first, first] = turn[:, second, second] = angle.cos()
            turn[:, first, second], turn[:, second, first] = -angle.sin(), angle.sin()
            linear = linear @ turn
    for axis in flip_axes:
        sign = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
        linear = linear.clone()
        linear[:, :, dims - 1 - axis] *= sign[:, None]
    # Angles hold in pixels, not in the normalised coordinates of an oblong image.
    extent = torch.tensor(list(shape[::-1]), dtype=torch.float32, device=device)
    linear = linear * extent / extent[:, None]
    matrix = torch.cat([linear, 2 * settings.shift * uniform(dims, 1)], 2)
    chosen = torch.rand(count, 1, 1, device=device) < settings.probability
    return torch.where(chosen, matrix, torch.eye(dims, dims + 1, device=device))
