"""Any number of a closed list of values, listed in one cell: K scalars, each 0 or 1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth.conditions.column import Column
from medsynth.conditions.kind import ABSENT, GIVEN, Condition, Features, Kind, Reading
from medsynth.conditions.statistics import BALANCED, SENSITIVITY, SPECIFICITY, Statistic, balanced_accuracy
from medsynth.config.columns import NOT_APPLICABLE_TEXT

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from medsynth.config import MultiLabel


class MultiLabelKind(Kind):
    """Each label is left out, guided and counted on its own; the reader gives a logit for each, (N, K)."""

    settings: MultiLabel
    statistics = (
        SENSITIVITY,
        SPECIFICITY,
        Statistic("balanced_accuracy", True, "", balanced_accuracy, BALANCED),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.outputs = len(self.settings.values)

    @property
    def width(self) -> int:
        return len(self.settings.values)

    @property
    def drops(self) -> tuple[slice, ...]:
        return tuple(slice(label, label + 1) for label in range(self.width))

    def _labels(self, text: str) -> list[str]:
        return [] if text == self.settings.none else [label.strip() for label in text.split(self.settings.separator)]

    def _flags(self, text: str) -> list[bool]:
        labels = self._labels(text)
        return [value in labels for value in self.settings.values]

    def describe(self, column: str) -> Column:
        mark, none = self.settings.separator, self.settings.none
        one = "|".join(re.escape(value) for value in self.settings.values)
        said = f"{self.name}, separated by {mark!r}; {none!r} for none of them"
        pattern = f"'?({re.escape(none)}|({one})( *{re.escape(mark)} *({one}))*)"  # an apostrophe: `tables.harmless`
        return Column(column, "string", said, pattern=pattern)

    def refusal(self, column: str, text: str) -> str | None:
        labels = self._labels(text)
        for label in labels:
            if label not in self.settings.values:
                expected = ", ".join((*self.settings.values, self.settings.none))
                return f"{label!r} is not one of {expected}"
        return None if len(set(labels)) == len(labels) else "names a value twice"

    def encode(self, cells: Mapping[str, Sequence[str]], count: int) -> Condition:
        import torch

        texts = cells.get(self.name, [""] * count)
        flags = [[False] * self.width if text in ABSENT else self._flags(text) for text in texts]
        states = [ABSENT.index(text) + 1 if text in ABSENT else GIVEN for text in texts]
        values = torch.tensor(flags, dtype=torch.float32).view(count, self.width)
        return Condition(values, torch.tensor(states, dtype=torch.int64)[:, None].repeat(1, self.width))

    def decode(self, part: Condition) -> dict[str, list[str]]:
        """A label that was left out on its own is not named; a row without any given label is missing."""
        given = part.states == GIVEN
        texts = []
        for shown, known, states in zip((part.values > 0.5) & given, given, part.states.tolist(), strict=True):
            texts.append(self._join(shown.tolist()) if known.any() else ABSENT[states[0] - 1])
        return {self.name: texts}

    def _join(self, flags: Sequence[bool]) -> str:
        labels = [value for value, flag in zip(self.settings.values, flags, strict=True) if flag]
        return self.settings.separator.join(labels) or self.settings.none

    def layers(self, features: int) -> list[nn.Module]:
        from torch import nn

        return [nn.Embedding(2, features) for _ in self.settings.values]

    def agrees(self, column: str, cells: np.ndarray, text: str) -> np.ndarray:
        """The same labels, in whatever order."""
        if text == NOT_APPLICABLE_TEXT:
            return cells == text
        asked = set(self._labels(text))
        return np.array([cell not in ABSENT and set(self._labels(cell)) == asked for cell in cells], bool)

    def seen(self, column: str, cells: np.ndarray, text: str) -> bool:
        """Each label was seen: they may come together as they never did."""
        if not self._labels(text):
            return super().seen(column, cells, text)
        seen = {label for cell in set(cells) - set(ABSENT) for label in self._labels(cell)}
        return set(self._labels(text)) <= seen

    def outputs_of(self, head: nn.Module, features: Features) -> tuple[Tensor, ...]:
        return (head(features.pooled),)

    def classes(self, part: Condition) -> list[Tensor]:
        return list(part.values.long().where(part.states == GIVEN, -1).unbind(1))

    def losses(self, outputs: Sequence[Tensor], part: Condition, grid: Sequence[int]) -> list[Tensor]:
        import torch.nn.functional as F

        return [F.binary_cross_entropy_with_logits(outputs[0], part.values) * self.width]

    def averaged(self, outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        import torch

        return (torch.stack([logits.double().sigmoid() for (logits,) in outputs]).mean(0).logit(),)

    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        probabilities = outputs[0].sigmoid().double().numpy()
        return {self.name: np.array([self._join(row) for row in probabilities > 0.5], dtype=object)}, probabilities

    def asked_and_read(
        self, table: pd.DataFrame, masks: np.ndarray | None, reading: Reading, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, ...]:
        """Whether each label is there, (k, K) bool twice."""
        pair = super().asked_and_read(table, masks, reading, shape)
        return tuple(np.array([self._flags(text) for text in part], bool).reshape(-1, self.width) for part in pair)

    def by_part(self, arrays: tuple[np.ndarray, ...]) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
        for label, value in enumerate(self.settings.values):
            yield f"{self.name}={value}", tuple(array[:, label] for array in arrays)
