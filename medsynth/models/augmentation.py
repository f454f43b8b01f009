"""Geometric augmentation of a batch: what is asked for moves with the image, and the network is told what was done.

Telling it keeps the augmentation out of the samples (Karras et al. 2022, appendix F.2, after Karras et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth.conditions.schema import ConditionSchema
from medsynth.config.training import Augmentation
from medsynth.models.contract import AUGMENTATION_FEATURES, Batch


def augment(batch: Batch, schema: ConditionSchema, settings: Augmentation, flip_axes: Sequence[int]) -> Batch:
    """Shift, rotate, scale and mirror a random part of the batch, masks and lesions with their images.

    Args:
        flip_axes: axes of (*spatial) that may be mirrored.
    Returns:
        The batch with `augmentation` features (N, A): whether each axis was mirrored, then the logarithm of the scale,
        the angles and the shifts, each over its maximum, so in [-1, 1]; zero for an image left as it was.
    """
    image, mask = batch.image, batch.mask
    assert image is not None
    dims = image.ndim - 2
    features = _random_features(len(image), dims, settings, flip_axes, image.device)
    matrix = _matrix(features, image.shape[2:], settings)
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


def _random_features(
    count: int, dims: int, settings: Augmentation, flip_axes: Sequence[int], device: torch.device
) -> Tensor:
    """(count, AUGMENTATION_FEATURES[dims]) as `augment` returns them."""
    flips = torch.zeros(count, dims, device=device)
    for axis in flip_axes:
        flips[:, axis] = (torch.rand(count, device=device) < 0.5).float()
    moves = 2 * torch.rand(count, AUGMENTATION_FEATURES[dims] - dims, device=device) - 1
    angles = [settings.rotation_degrees] * (moves.shape[1] - 1 - dims)
    moves = moves * (torch.tensor([settings.scale, *angles, *[settings.shift] * dims], device=device) > 0)
    chosen = torch.rand(count, 1, device=device) < settings.probability
    return torch.cat([flips, moves], 1) * chosen


def _matrix(features: Tensor, shape: Sequence[int], settings: Augmentation) -> Tensor:
    """(N, d, d + 1): output position → input position, in [-1, 1] with x first, as `affine_grid` takes it."""
    dims, device = len(shape), features.device
    flips, scale, angles, shifts = features.split([dims, 1, dims * (dims - 1) // 2, dims], 1)
    linear = torch.eye(dims, device=device) * (math.log1p(settings.scale) * scale[:, :, None]).exp()
    for angle, (first, second) in zip(angles.unbind(1), combinations(range(dims), 2), strict=True):
        angle = math.radians(settings.rotation_degrees) * angle
        turn = torch.eye(dims, device=device).repeat(len(features), 1, 1)
        turn[:, first, first] = turn[:, second, second] = angle.cos()
        turn[:, first, second], turn[:, second, first] = -angle.sin(), angle.sin()
        linear = linear @ turn
    linear = linear * (1 - 2 * flips.flip(1))[:, None, :]
    # Angles hold in pixels, not in the normalised coordinates of an oblong image.
    extent = torch.tensor(list(shape[::-1]), dtype=torch.float32, device=device)
    linear = linear * extent / extent[:, None]
    return torch.cat([linear, 2 * settings.shift * shifts[:, :, None]], 2)
