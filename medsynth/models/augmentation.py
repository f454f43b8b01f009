"""Geometric augmentation of a batch: what is asked for moves with the image, and the network is told what was done.

Telling it keeps the augmentation out of the samples (Karras et al. 2022, appendix F.2, after Karras et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth import config
from medsynth.conditions.kind import Condition
from medsynth.conditions.schema import ConditionSchema

AUGMENTATION_FEATURES = {2: 6, 3: 12}  # the entries of the affine matrix, identity subtracted


def augment(
    images: Tensor,
    condition: Condition,
    schema: ConditionSchema,
    settings: config.Augmentation,
    flip_axes: Sequence[int],
) -> tuple[Tensor, Condition, Tensor]:
    """Shift, rotate, scale and mirror a random part of the batch.

    Args:
        images: (N, C, *spatial) in [-1, 1].
        flip_axes: axes of (*spatial) that may be mirrored.
    Returns:
        images, conditions, and features (N, A) that are zero for an image left as it was.
    """
    dims = images.ndim - 2
    matrix = _random_matrix(len(images), images.shape[2:], settings, flip_axes, images.device)
    features = (matrix - torch.eye(dims, dims + 1, device=images.device)).flatten(1)
    changed = features.abs().sum(1) > 0
    if not changed.any():
        return images, condition, features
    grid = F.affine_grid(matrix[changed], [int(changed.sum()), *images.shape[1:]], align_corners=False)
    images = images.clone()
    images[changed] = F.grid_sample(images[changed], grid, padding_mode="reflection", align_corners=False)
    mask = condition.mask
    if mask is not None:
        mask = mask.clone()
        moved = F.grid_sample(
            mask[changed, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
        )
        mask[changed] = moved[:, 0].to(mask.dtype)
    return images, schema.moved(condition, matrix, mask), features


def _random_matrix(
    count: int, shape: Sequence[int], settings: config.Augmentation, flip_axes: Sequence[int], device: torch.device
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
