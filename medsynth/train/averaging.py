"""The moving average of weights whose width is a share of the training so far: a power-function EMA.

Equation numbers are of Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


@torch.no_grad()
def move_average(average: Mapping[str, Tensor], current: Mapping[str, Tensor], step: int, width: float) -> None:
    """Take one more state into the average, in place (Eq. 121).

    Args:
        step: how many states it has then seen; the first replaces it.
        width: the standard deviation of the profile, as a share of the steps.
    """
    keep = (1 - 1 / step) ** (power_of(width) + 1)
    torch._foreach_lerp_(list(average.values()), [current[name] for name in average], 1 - keep)


def power_of(width: float) -> float:
    """The exponent of a power-function EMA from its relative width (Eq. 126).

    sigma_rel = sqrt(g + 1) / ((g + 2) sqrt(g + 3)), solved for g.
    """
    inverse = width**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())
