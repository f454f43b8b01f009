"""The kinds of condition that a dataset may declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.columns import NOT_APPLICABLE_TEXT, PREDICTED, RESERVED, spatial_columns
from medsynth.config.section import Strict


class Categorical(Strict):
    """One of a closed list of values; the column has the field's name."""

    kind: Literal["categorical"]
    values: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values are not distinct: {list(self.values)}")
        for text, meaning in (("", "is missing"), (NOT_APPLICABLE_TEXT, "cannot apply")):
            if text in self.values:
                raise ValueError(f"{text!r} is no value: in a cell it says that the value {meaning}")
        return self


class Number(Strict):
    """A number within a range; the column has the field's name."""

    kind: Literal["number"]
    range: tuple[float, float]
    unit: str = ""

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)} does not rise")
        return self


class Spatial(Strict):
    """A lesion's place and size: columns <field>_x, <field>_y (and <field>_z for volumes), <field>_size.

    Places are fractions of the image's extent from its first column, row (and slice); the size is the lesion's
    diameter as a fraction of the image's width. `severity` names the number field that sets the map's strength.
    """

    kind: Literal["spatial"]
    severity: str | None = None


ConditionField = Annotated[Categorical | Number | Spatial, Field(discriminator="kind")]


def refuse_taken_columns(fields: Mapping[str, ConditionField], spatial_dims: int) -> None:
    """Refuse conditions whose columns another condition has, or medsynth itself in one of its tables.

    Raises:
        ValueError: names the condition and the column.
    """
    for name, field in fields.items():
        for column in spatial_columns(name, spatial_dims) if isinstance(field, Spatial) else (name,):
            if column != name and column in fields:
                raise ValueError(f"conditions.{name} and conditions.{column} both have the column {column!r}")
            if column in RESERVED or column.startswith(PREDICTED):
                raise ValueError(f"conditions.{name}: {column!r} is a column of medsynth's own, take another name")
