"""One of a closed list of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth.conditions.kind import GIVEN, Condition, Features, Kind, mean_probability
from medsynth.conditions.statistics import ACCURACY

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medsynth.config import Categorical


class CategoricalKind(Kind):
    """The scalar is the value's index; the reader gives logits (N, K)."""

    settings: Categorical
    has_classes = True
    statistics = (ACCURACY,)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.outputs = len(self.settings.values)

    def choices(self, column: str) -> tuple[str, ...]:
        return self.settings.values

    def refusal(self, column: str, text: str) -> str | None:
        return None if text in self.settings.values else f"not one of {', '.join(self.settings.values)}"

    def to_value(self, column: str, text: str) -> float:
        return float(self.settings.values.index(text))

    def to_text(self, column: str, value: float) -> str:
        return self.settings.values[math.floor(value + 0.5)]

    def layers(self, features: int) -> list[nn.Module]:
        from torch import nn

        return [nn.Embedding(len(self.settings.values), features)]

    def outputs_of(self, head: nn.Module, features: Features) -> tuple[Tensor, ...]:
        return (head(features.pooled),)

    def classes(self, part: Condition) -> list[Tensor]:
        return [part.values[:, 0].long().where(part.states[:, 0] == GIVEN, -1)]

    def losses(self, outputs: Sequence[Tensor], part: Condition, grid: Sequence[int]) -> list[Tensor]:
        import torch.nn.functional as F

        return [F.cross_entropy(outputs[0], part.values[:, 0].long())]

    def averaged(self, outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        return (mean_probability([logits for (logits,) in outputs]),)

    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        probabilities = outputs[0].softmax(1).double().numpy()
        return {self.name: np.array(self.settings.values)[probabilities.argmax(1)]}, probabilities
