"""Adherence: how far synthetic images fall short of real ones when a reader reads back what was asked for.

Every statistic of a field is put on one scale: 0 is what real images reach, 1 is chance, readings that are shuffled
among the images. So accuracies, correlations and distances in pixels can be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsynth.conditions.kind import Kind, Reading
from medsynth.conditions.schema import ConditionSchema

SHUFFLES = 50


@dataclass(frozen=True)
class Part:
    """One statistic of a field, or of one of its labels.

    Attributes:
        of: the statistic of the arrays of `Kind.by_part`.
        index: of the part among those of its field.
        rows: (n,) whether an image's row asks for the field.
        real: (1 + draws,) on real images, resampled; chance: of shuffled readings.
    """

    of: Callable[..., float]
    index: int
    rows: np.ndarray
    real: np.ndarray
    chance: float


class Adherence:
    """How the fields of some images were read, beside real images of the same rows.

    Attributes:
        left_out: fields that the reader does not read from real images.
    """

    def __init__(
        self,
        schema: ConditionSchema,
        table: pd.DataFrame,
        masks: np.ndarray | None,
        shape: tuple[int, ...],
        real: Reading,
        counts: np.ndarray,
    ) -> None:
        """Look at what the reader reads from real images.

        Args:
            table, masks: what the n images were asked for by.
            shape: (*spatial) in pixels.
            real: readings of real images of these rows.
            counts: (1 + draws, n) how often each image is drawn.
        """
        self._asked = table, masks, shape
        self._counts = counts
        self._parts: dict[str, list[Part]] = {}
        rng = np.random.default_rng(0)  # of the shuffles alone
        for name, kind in schema.kinds.items():
            rows = self._rows_asked(kind, real)
            if rows.any() and (parts := list(self._readable(kind, real, rows, rng))):
                self._parts[name] = parts
        self._kinds = schema.kinds
        self.left_out = tuple(name for name in schema.kinds if name not in self._parts)

    def shortfall(self, reading: Reading) -> np.ndarray | None:
        """(1 + draws,) the mean over the fields of how far the readings fall short; None where no field is read."""
        if not self._parts:
            return None
        fields = []
        for name, parts in self._parts.items():
            arrays = self._arrays(self._kinds[name], reading)
            short = []
            for part in parts:
                found = self._draws(part.of, arrays[part.index], part.rows)
                found = np.where(np.isnan(found), part.chance, found)  # readings that do not vary tell nothing
                short.append((part.real - found) / (part.real[0] - part.chance))
            fields.append(np.mean(short, 0))
        return np.mean(fields, 0)

    def _readable(self, kind: Kind, real: Reading, rows: np.ndarray, rng: np.random.Generator):
        """The statistics in which real images differ from chance by more than chance itself varies."""
        for index, arrays in enumerate(self._arrays(kind, real)):
            for statistic in kind.statistics:
                value = statistic.of(*arrays)
                chance = [statistic.of(*shuffled(arrays, rng)) for _ in range(SHUFFLES)]
                apart = (value - np.mean(chance)) * (1 if statistic.higher_is_better else -1)
                if apart > 3 * np.std(chance) and apart > 0:  # NaN is neither
                    draws = self._draws(statistic.of, arrays, rows)
                    yield Part(
                        statistic.of, index, rows, np.where(np.isnan(draws), value, draws), float(np.mean(chance))
                    )

    def _arrays(self, kind: Kind, reading: Reading) -> list[tuple[np.ndarray, ...]]:
        table, masks, shape = self._asked
        return [arrays for _, arrays in kind.by_part(kind.asked_and_read(table, masks, reading, shape))]

    def _rows_asked(self, kind: Kind, reading: Reading) -> np.ndarray:
        """(n,) which rows ask for the field: the kind says so of one row at a time."""
        table, masks, shape = self._asked

        def asks(row: int) -> bool:
            own = slice(row, row + 1)
            of_row = Reading(
                reading.values[own].reset_index(drop=True),
                {name: shares[own] for name, shares in reading.probabilities.items()},
            )
            of_table = table[own].reset_index(drop=True)
            return len(kind.asked_and_read(of_table, None if masks is None else masks[own], of_row, shape)[0]) > 0

        return np.array([asks(row) for row in range(len(table))])

    def _draws(self, of: Callable[..., float], arrays: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """(1 + draws,) a statistic of the resampled rows; NaN where none of them is drawn."""
        counts = self._counts[:, rows].astype(int)
        positions = [np.repeat(np.arange(rows.sum()), count) for count in counts]
        return np.array([of(*(array[chosen] for array in arrays)) if len(chosen) else np.nan for chosen in positions])


def shuffled(arrays: Sequence[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """What was asked beside another image's reading; of a likeness alone, none at all."""
    asked, *read = arrays
    if not read:
        return (np.zeros_like(asked),)
    order = rng.permutation(len(asked))
    return asked, *(array[order] for array in read)
