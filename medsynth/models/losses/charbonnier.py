"""The absolute error of each pixel, smooth at zero."""

from __future__ import annotations

import torch
from torch import Tensor

from medsynth.models.contract import Batch

EPSILON = 1e-3  # of [-1, 1]: errors far below it count as squares


def charbonnier(image: Tensor, batch: Batch) -> Tensor:
    """sqrt(e^2 + eps^2) - eps: the absolute error, smooth at zero (Charbonnier et al. 1994)."""
    return smooth_absolute(image - batch.image).flatten(1).mean(1)


def smooth_absolute(error: Tensor) -> Tensor:
    """sqrt(e^2 + eps^2) - eps of each element."""
    return torch.sqrt(error.square() + EPSILON**2) - EPSILON
