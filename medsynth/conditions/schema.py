"""Typed conditions with missing values: table cells → tensors → a spatial map.

A field is categorical, a number, or spatial (config.ConditionField). Any cell may be missing (empty) or not applicable
(`n/a`: the size of a lesion that is not there). Both states are told to the network, which learns a token for each.
Torch is imported where tensors are made, so that the table reader stays light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medsynth.config import Categorical, ConditionField, Number, Spatial
from medsynth.config.columns import NOT_APPLICABLE_TEXT, spatial_columns

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor

GIVEN, MISSING, NOT_APPLICABLE = 0, 1, 2


def field_columns(name: str, field: ConditionField, spatial_dims: int) -> tuple[str, ...]:
    """The table columns of one field."""
    return spatial_columns(name, spatial_dims) if isinstance(field, Spatial) else (name,)


def condition_columns(fields: Mapping[str, ConditionField], spatial_dims: int) -> tuple[str, ...]:
    """The table columns of all fields, in their order."""
    return tuple(column for name, field in fields.items() for column in field_columns(name, field, spatial_dims))


def owner(fields: Mapping[str, ConditionField], column: str) -> str:
    """The name of the field that a column belongs to."""
    if column in fields:
        return column
    return column.rpartition("_")[0]


def check_cell(fields: Mapping[str, ConditionField], column: str, text: str) -> str | None:
    """Why a cell cannot be used, or None if it can."""
    if text in ("", NOT_APPLICABLE_TEXT):
        return None
    field = fields[owner(fields, column)]
    if isinstance(field, Categorical):
        return None if text in field.values else f"not one of {', '.join(field.values)}"
    low, high = field.range if isinstance(field, Number) else (0.0, 1.0)
    try:
        value = float(text)
    except ValueError:
        return "not a number"
    return None if low <= value <= high else f"not within {low:g} to {high:g}"  # NaN is within nothing


@dataclass(frozen=True)
class Condition:
    """A batch of conditions.

    Attributes:
        values: (N, F) float32: the index of a categorical value, a number scaled to [-1, 1], or a spatial fraction.
        states: (N, F) int64: GIVEN, MISSING or NOT_APPLICABLE; the value counts only where GIVEN.
    """

    values: Tensor
    states: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor | slice) -> Condition:
        return Condition(self.values[rows], self.states[rows])

    def to(self, device: torch.device | str) -> Condition:
        return Condition(self.values.to(device), self.states.to(device))


class ConditionSchema:
    """The fields of a dataset and their places in the tensors.

    Attributes:
        columns: one name for each of the F scalars.
        groups: for every field its slice of the F scalars.
    """

    def __init__(self, fields: Mapping[str, ConditionField], spatial_dims: int) -> None:
        self.fields = dict(fields)
        self.spatial_dims = spatial_dims
        self.columns = condition_columns(fields, spatial_dims)
        self.groups: dict[str, slice] = {}
        start = 0
        for name, field in fields.items():
            width = len(field_columns(name, field, spatial_dims))
            self.groups[name] = slice(start, start + width)
            start += width
        self.spatial = {name: field for name, field in fields.items() if isinstance(field, Spatial)}

    @property
    def map_channels(self) -> int:
        """Channels of the drawn map: where a lesion is, and how severe it is there."""
        return sum(1 + (field.severity is not None) for field in self.spatial.values())

    def encode(self, table: pd.DataFrame) -> Condition:
        """Turn checked rows into tensors; a column that the table lacks is missing in every row.

        Raises:
            ValueError: a cell that `check_cell` refuses.
        """
        import torch

        values = torch.zeros(len(table), len(self.columns))
        states = torch.full((len(table), len(self.columns)), MISSING)
        for position, column in enumerate(self.columns):
            if column not in table:
                continue
            field = self.fields[owner(self.fields, column)]
            for row, text in enumerate(table[column].astype(str)):
                if reason := check_cell(self.fields, column, text):
                    raise ValueError(f"{column} {text!r}: {reason}")
                if text == NOT_APPLICABLE_TEXT:
                    states[row, position] = NOT_APPLICABLE
                elif text:
                    states[row, position] = GIVEN
                    values[row, position] = _to_value(field, text)
        return Condition(values, states)

    def decode(self, condition: Condition) -> pd.DataFrame:
        """Turn tensors back into cells."""
        import pandas as pd

        cells: dict[str, list[str]] = {}
        for position, column in enumerate(self.columns):
            field = self.fields[owner(self.fields, column)]
            cells[column] = [
                ("", NOT_APPLICABLE_TEXT)[state - 1] if state != GIVEN else _to_text(field, value)
                for value, state in zip(
                    condition.values[:, position].tolist(), condition.states[:, position].tolist(), strict=True
                )
            ]
        return pd.DataFrame(cells, dtype=str)

    def nothing(self, count: int) -> Condition:
        """The unconditional condition: every field missing."""
        import torch

        shape = (count, len(self.columns))
        return Condition(torch.zeros(shape), torch.full(shape, MISSING))

    def drop(self, condition: Condition, probability: float, uniform: Tensor) -> Condition:
        """Make fields missing, each on its own, and all together as often again.

        Args:
            uniform: (N, number of fields + 1) draws from U(0, 1); the last column drops the whole row.
        """
        states = condition.states.clone()
        everything = uniform[:, -1] < probability
        for position, group in enumerate(self.groups.values()):
            states[(uniform[:, position] < probability) | everything, group] = MISSING
        return Condition(condition.values, states)

    def draw(self, condition: Condition, shape: Sequence[int]) -> Tensor:
        """Draw lesions into a map: a disc with a soft edge, one channel for its place, one for its severity.

        Returns:
            (N, map_channels, *shape); zero where a field is missing or not applicable. The place is in [0, 1], the
            severity from -1 (the lowest of its range) to 1.
        """
        import torch

        device = condition.values.device
        channels = []
        for name, field in self.spatial.items():
            group = self.groups[name]
            given = (condition.states[:, group] == GIVEN).all(1)
            *centre, size = condition.values[:, group].unbind(1)
            squares = torch.zeros(1, device=device)
            for axis, position in enumerate(centre):  # x is the last array axis
                extent = shape[-1 - axis]
                pixels = (torch.arange(extent, device=device) + 0.5).view(-1, *[1] * axis)
                distance = pixels - position.view(-1, *[1] * len(shape)) * extent
                squares = squares + distance**2
            radius = (size * shape[-1] / 2).view(-1, *[1] * len(shape))
            inside = torch.sigmoid(radius + 0.5 - squares.sqrt()) * given.view(-1, *[1] * len(shape))
            channels.append(inside)
            if field.severity is not None:
                position = self.groups[field.severity].start
                known = condition.states[:, position] == GIVEN
                severity = condition.values[:, position] * known
                channels.append(inside * severity.view(-1, *[1] * len(shape)))
        if not channels:
            return torch.zeros(len(condition), 0, *shape, device=device)
        return torch.stack(channels, 1)


def _to_value(field: ConditionField, text: str) -> float:
    if isinstance(field, Categorical):
        return float(field.values.index(text))
    if isinstance(field, Number):
        low, high = field.range
        return 2 * (float(text) - low) / (high - low) - 1
    return float(text)


def _to_text(field: ConditionField, value: float) -> str:
    if isinstance(field, Categorical):
        return field.values[math.floor(value + 0.5)]
    if isinstance(field, Number):
        low, high = field.range
        value = low + (value + 1) / 2 * (high - low)
    return f"{value:.6g}"
