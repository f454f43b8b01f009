"""Losses between the image that a network gives and the one it learns from: (image, batch) → (N,).

`image` is (N, C, *spatial) in [-1, 1], its pair is `batch.image`. A family chooses by name, from `registry.LOSSES`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth.models.contract import Batch

EPSILON = 1e-3  # of [-1, 1]: errors far below it count as squares
POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}


def charbonnier(image: Tensor, batch: Batch) -> Tensor:
    """sqrt(e^2 + eps^2) - eps: the absolute error, smooth at zero (Charbonnier et al. 1994)."""
    return _charbonnier(image - batch.image).flatten(1).mean(1)


def edge(image: Tensor, batch: Batch) -> Tensor:
    """Difference of the gradients along every axis, at up to three scales (after Mathieu et al. 2016, Eq. 6)."""
    assert batch.image is not None
    total = image.new_zeros(len(image))
    target, dims = batch.image, image.ndim - 2
    scales = 0
    while scales < 3 and min(image.shape[2:]) >= 4:
        for axis in range(2, image.ndim):
            total = total + _charbonnier(image.diff(dim=axis) - target.diff(dim=axis)).flatten(1).mean(1) / dims
        image, target, scales = POOL[dims](image, 2), POOL[dims](target, 2), scales + 1
    return total / max(scales, 1)


def _charbonnier(error: Tensor) -> Tensor:
    return torch.sqrt(error.square() + EPSILON**2) - EPSILON
