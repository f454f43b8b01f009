"""A number within a range, scaled to [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth.conditions.column import Column, refuse_number
from medsynth.conditions.kind import Kind, Reading
from medsynth.conditions.statistics import CORRELATED, Statistic, mean_absolute_error, rank_correlation

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from medsynth.config import Number


class NumberKind(Kind):
    settings: Number

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.moved_together = ((self.name,),)
        self.statistics = (
            Statistic("mean_absolute_error", False, self.settings.unit, mean_absolute_error, CORRELATED),
            Statistic("rank_correlation", True, "", rank_correlation, CORRELATED),
        )

    def describe(self, column: str) -> Column:
        low, high = self.settings.range
        return Column(column, "number", self.name, minimum=low, maximum=high, unit=self.settings.unit)

    def refusal(self, column: str, text: str) -> str | None:
        return refuse_number(text, *self.settings.range)

    def to_value(self, column: str, text: str) -> float:
        low, high = self.settings.range
        return 2 * (float(text) - low) / (high - low) - 1

    def to_text(self, column: str, value: float) -> str:
        low, high = self.settings.range
        return f"{low + (value + 1) / 2 * (high - low):.6g}"

    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        low, high = self.settings.range
        return {self.name: low + (outputs[0].clamp(-1, 1).double().numpy() + 1) / 2 * (high - low)}, None

    def asked_and_read(
        self, table: pd.DataFrame, masks: np.ndarray | None, reading: Reading, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, ...]:
        """In the number's unit, (k,) twice."""
        asked, read = super().asked_and_read(table, masks, reading, shape)
        return asked.astype(float), read.astype(float)
