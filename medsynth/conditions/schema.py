"""The fields of a dataset in their order: table cells → scalars → what a network is told. Each kind says how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medsynth import registry
from medsynth.conditions.kind import GIVEN, MISSING, NOT_APPLICABLE, Condition, Kind
from medsynth.config.columns import MASK_OF, NOT_APPLICABLE_TEXT

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from medsynth.config import ConditionField

__all__ = ["GIVEN", "MISSING", "NOT_APPLICABLE", "NOT_APPLICABLE_TEXT", "Condition", "ConditionSchema"]


class ConditionSchema:
    """The fields of a dataset and their places in the tensors.

    Attributes:
        kinds: for every field what its kind makes of it.
        columns: of the sample table; numbers: those of them that hold numbers.
        width: scalars of a row; groups: for every field its slice of them.
        drops: slices of the scalars that are left out each on its own.
        map_channels: planes that are drawn.
        needs_mask: whether images are asked for by their label maps.
    """

    def __init__(
        self, fields: Mapping[str, ConditionField], spatial_dims: int, structures: Mapping[str, int] | None = None
    ) -> None:
        self.fields = dict(fields)
        self.spatial_dims = spatial_dims
        self.kinds: dict[str, Kind] = {
            name: registry.CONDITIONS[field.kind].load()(name, field, spatial_dims, structures)
            for name, field in fields.items()
        }
        self.of_column = {column: kind for kind in self.kinds.values() for column in kind.columns}
        self.columns = tuple(self.of_column)
        together = (columns for kind in self.kinds.values() for columns in kind.moved_together)
        self.numbers = frozenset(column for columns in together for column in columns)
        self.groups: dict[str, slice] = {}
        self.width = 0
        for name, kind in self.kinds.items():
            self.groups[name] = slice(self.width, self.width + kind.width)
            self.width += kind.width
        self.drops = tuple(
            slice(self.groups[name].start + part.start, self.groups[name].start + part.stop)
            for name, kind in self.kinds.items()
            for part in kind.drops
        )
        self.map_channels = sum(kind.planes for kind in self.kinds.values())
        self.needs_mask = any(kind.needs_mask for kind in self.kinds.values())

    def check(self, column: str, text: str) -> str | None:
        """Why a cell cannot be used, or None if it can."""
        return self.of_column[column].check(column, text)

    def check_row(self, cells: Mapping[str, str]) -> tuple[str, str] | None:
        """The first column of a row whose cell cannot be used, by itself or beside the others, and why."""
        for column in self.columns:
            if column in cells and (reason := self.check(column, cells[column])):
                return column, reason
        problems = (kind.check_row(cells) for kind in self.kinds.values())
        return next((problem for problem in problems if problem), None)

    def encode(self, table: pd.DataFrame, masks: np.ndarray | None = None) -> Condition:
        """Turn checked rows into tensors; a column that the table lacks is missing in every row.

        Args:
            masks: (N, *spatial) uint8, read from disk where they are indexed; None: no row has one.
        Raises:
            ValueError: a cell that `check` refuses.
        """
        import torch

        for column in self.columns:
            for text in table[column].astype(str) if column in table else ():
                if reason := self.check(column, text):
                    raise ValueError(f"{column} {text!r}: {reason}")
        cells = {
            str(column): table[column].astype(str).tolist() for column in table if column in (*self.columns, MASK_OF)
        }
        parts = [kind.encode(cells, len(table)) for kind in self.kinds.values()]
        values, states = (torch.cat([getattr(part, of) for part in parts], 1) for of in ("values", "states"))
        if masks is None:
            for name, kind in self.kinds.items():
                if kind.needs_mask:
                    states[:, self.groups[name]] = MISSING
        return Condition(values, states, torch.from_numpy(masks) if self.needs_mask and masks is not None else None)

    def decode(self, condition: Condition) -> pd.DataFrame:
        """Turn tensors back into cells."""
        import pandas as pd

        parts = self.parts(condition)
        cells = {column: of for name, kind in self.kinds.items() for column, of in kind.decode(parts[name]).items()}
        return pd.DataFrame(cells, dtype=str)

    def parts(self, condition: Condition) -> dict[str, Condition]:
        """Each field's own scalars, and the mask."""
        return {
            name: Condition(condition.values[:, group], condition.states[:, group], condition.mask)
            for name, group in self.groups.items()
        }

    def nothing(self, count: int) -> Condition:
        """The unconditional condition: every field missing."""
        import torch

        return Condition(torch.zeros(count, self.width), torch.full((count, self.width), MISSING))

    def without(self, condition: Condition, field: str) -> Condition:
        """The condition with one field missing."""
        states = condition.states.clone()
        states[:, self.groups[field]] = MISSING
        return Condition(condition.values, states, condition.mask)

    def drop(self, condition: Condition, probability: float, uniform: Tensor) -> Condition:
        """Make fields missing, each with the same probability: on its own, or together with all others.

        Of F fields, a row keeps any one with 1 - probability; with q = 1 - sqrt(1 - probability), all are missing with
        q + (1 - q) q^F.

        Args:
            uniform: (N, number of `drops` + 1) draws from U(0, 1); the last column drops the whole row.
        """
        either = 1 - math.sqrt(1 - probability)  # two chances to go, each as likely: (1 - either)^2 = 1 - probability
        states = condition.states.clone()
        everything = uniform[:, -1] < either
        for position, group in enumerate(self.drops):
            states[(uniform[:, position] < either) | everything, group] = MISSING
        return Condition(condition.values, states, condition.mask)

    def draw(self, condition: Condition, shape: Sequence[int]) -> Tensor:
        """What is drawn for a network: (N, map_channels, *shape); zero where a field is missing or not applicable."""
        import torch

        parts = self.parts(condition)
        planes = [plane for kind in self.kinds.values() for plane in kind.draw(parts, shape)]
        if not planes:
            return torch.zeros(len(condition), 0, *shape, device=condition.values.device)
        return torch.stack(planes, 1)

    def moved(self, condition: Condition, matrix: Tensor, mask: Tensor | None) -> Condition:
        """The condition of images that were resampled, as `augment` does it; mask: theirs, resampled with them."""
        return self._each(condition, mask, lambda kind, values: kind.moved(values, matrix))

    def shifted(self, condition: Condition, offset: Tensor, mask: Tensor | None) -> Condition:
        """The condition of images that were all shifted by (d,) fractions of their extent, x first."""
        return self._each(condition, mask, lambda kind, values: kind.shifted(values, offset))

    def _each(self, condition: Condition, mask: Tensor | None, move) -> Condition:
        import torch

        parts = [move(kind, condition.values[:, self.groups[name]]) for name, kind in self.kinds.items()]
        return Condition(torch.cat(parts, 1), condition.states, mask)
