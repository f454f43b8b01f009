"""The kinds of condition that a dataset may declare."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.section import Strict


class Categorical(Strict):
    """One of a closed list of values; the column has the field's name."""

    kind: Literal["categorical"]
    values: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values are not distinct: {list(self.values)}")
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
