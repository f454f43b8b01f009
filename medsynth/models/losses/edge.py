"""The difference of the gradients of two images."""

from __future__ import annotations

from torch import Tensor

from medsynth.models.contract import Batch
from medsynth.models.losses.charbonnier import smooth_absolute
from medsynth.models.networks.blocks import AVERAGE_POOL


def edge(image: Tensor, batch: Batch) -> Tensor:
    """Difference of the gradients along every axis, at up to three scales (after Mathieu et al. 2016, Eq. 6)."""
    assert batch.image is not None
    total = image.new_zeros(len(image))
    target, dims = batch.image, image.ndim - 2
    scales = 0
    while scales < 3 and min(image.shape[2:]) >= 4:
        for axis in range(2, image.ndim):
            total = total + smooth_absolute(image.diff(dim=axis) - target.diff(dim=axis)).flatten(1).mean(1) / dims
        image, target, scales = AVERAGE_POOL[dims](image, 2), AVERAGE_POOL[dims](target, 2), scales + 1
    return total / max(scales, 1)
