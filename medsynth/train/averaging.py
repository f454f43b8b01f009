"""The moving average of weights whose width is a share of the training so far: a power-function EMA.

Equation numbers are of Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from medsynth.models.contract import GenerativeModel


class Averages:
    """The averaged weights of a model, and those states of them that are kept.

    Attributes:
        now: the average so far.
        best: the one with the best score; empty before the first.
        early: the one that autoguidance moves away from; empty until it is kept.
    """

    def __init__(self, model: GenerativeModel, width: float) -> None:
        self.model = model
        self.width = width
        self.now = _copy(model.sampled_state())
        self.best: dict[str, Tensor] = {}
        self.early: dict[str, Tensor] = {}

    def move(self, step: int) -> None:
        """Take the model's weights in, after so many steps."""
        move_average(self.now, self.model.sampled_state(), step, self.width)

    def keep_best(self) -> None:
        self.best = _copy(self.now)

    def keep_early(self) -> None:
        self.early = _copy(self.now)

    def keep_early_as_best(self) -> None:
        self.early = _copy(self.best)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with its averaged weights, while the block runs."""
        trained = _copy(self.model.sampled_state())
        self.model.load_state_dict(self.now, strict=False)
        try:
            yield
        finally:
            self.model.load_state_dict(trained, strict=False)


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


@torch.no_grad()
def move_average(average: Mapping[str, Tensor], current: Mapping[str, Tensor], step: int, width: float) -> None:
    """Take one more state into the average, in place (Eq. 121). Whole numbers are no average: the newest is kept.

    Args:
        step: how many states it has then seen; the first replaces it.
        width: the standard deviation of the profile, as a share of the steps.
    """
    keep = (1 - 1 / step) ** (power_of(width) + 1)
    mixed = [name for name, tensor in average.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in mixed], [current[name] for name in mixed], 1 - keep)
    for name in average.keys() - set(mixed):
        average[name].copy_(current[name])


def power_of(width: float) -> float:
    """The exponent of a power-function EMA from its relative width (Eq. 126).

    sigma_rel = sqrt(g + 1) / ((g + 2) sqrt(g + 3)), solved for g. Up to the width 1 / sqrt(12), which
    `config.training.EMA_WIDTHS` admits, the largest root is real and not negative.
    """
    inverse = width**-2
    return max(0.0, float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max()))
