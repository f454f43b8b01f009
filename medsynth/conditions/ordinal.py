"""One of a list of grades in rising order: even steps on a scale from -1 (the first) to 1 (the last)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medsynth.conditions.column import Column
from medsynth.conditions.kind import GIVEN, Condition, Kind, Reading
from medsynth.conditions.statistics import (
    BALANCED,
    Statistic,
    at_most_one_step,
    mean_absolute_error,
    rank_correlation,
    share,
)

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from medsynth.config import Ordinal


class OrdinalKind(Kind):
    """The scalar is the rank on that scale; the reader regresses it and takes the nearest rank."""

    settings: Ordinal
    has_classes = True
    statistics = (
        Statistic("rank_correlation", True, "", rank_correlation, BALANCED),
        share("within_one_step", at_most_one_step, BALANCED),
        Statistic("mean_absolute_error_steps", False, "steps", mean_absolute_error, BALANCED),
    )

    @property
    def _half(self) -> float:
        """Half the number of steps."""
        return (len(self.settings.values) - 1) / 2

    def choices(self, column: str) -> tuple[str, ...]:
        return self.settings.values

    def describe(self, column: str) -> Column:
        grades = " < ".join(self.settings.values)
        return replace(super().describe(column), description=f"{self.name}, in rising order {grades}")

    def refusal(self, column: str, text: str) -> str | None:
        return None if text in self.settings.values else f"not one of {' < '.join(self.settings.values)}"

    def to_value(self, column: str, text: str) -> float:
        return self.settings.values.index(text) / self._half - 1

    def to_text(self, column: str, value: float) -> str:
        return self.settings.values[int(self._rank(np.array(value)))]

    def _rank(self, scaled: np.ndarray) -> np.ndarray:
        return np.floor((scaled.clip(-1, 1) + 1) * self._half + 0.5).astype(int)

    def classes(self, part: Condition) -> list[Tensor]:
        ranks = ((part.values[:, 0] + 1) * self._half).round().long()
        return [ranks.where(part.states[:, 0] == GIVEN, -1)]

    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        return {self.name: np.array(self.settings.values)[self._rank(outputs[0].double().numpy())]}, None

    def asked_and_read(
        self, table: pd.DataFrame, masks: np.ndarray | None, reading: Reading, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, ...]:
        """Ranks from 0, (k,) twice."""
        pair = super().asked_and_read(table, masks, reading, shape)
        return tuple(np.array([self.settings.values.index(text) for text in part], dtype=float) for part in pair)

    def asked_as(self, value: str) -> float:
        return float(self.settings.values.index(value))
