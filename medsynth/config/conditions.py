"""The kinds of condition that a dataset may declare: one class a kind, as registry.CONDITIONS lists them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from medsynth import registry
from medsynth.config.columns import NOT_APPLICABLE_TEXT, PREDICTED, RESERVED, lesion_columns
from medsynth.config.section import Count, Strict


class FieldSettings(Strict):
    """One field that images are asked for by.

    Attributes:
        statistics: names of what compares asked and read, as lines of metrics.csv are named.
    """

    statistics: ClassVar[tuple[str, ...]] = ()

    kind: str

    def _columns(self, name: str, spatial_dims: int) -> tuple[str, ...]:
        """The columns of the sample table that hold it."""
        return (name,)

    def _misfit(self, fields: Mapping[str, FieldSettings]) -> str | None:
        """Why it does not go with the other fields."""
        return None

    def _no_subgroups(self, edges: tuple[float, ...]) -> str | None:
        """Why it does not tell subgroups apart by these edges."""
        return f"a condition of kind {self.kind} tells no subgroups apart"


def _edges_beside_values(edges: tuple[float, ...]) -> str | None:
    return f"the condition has values of its own, expected [], got {list(edges)}" if edges else None


def _distinct_values(values: tuple[str, ...]) -> None:
    """Refuse values of which two are the same, or one is a cell without a value."""
    if len(set(values)) < len(values):
        raise ValueError(f"values are not distinct: {list(values)}")
    for text, meaning in (("", "is missing"), (NOT_APPLICABLE_TEXT, "cannot apply")):
        if text in values:
            raise ValueError(f"{text!r} is no value: in a cell it says that the value {meaning}")


class Categorical(FieldSettings):
    """One of a closed list of values; the column has the field's name."""

    statistics = ("accuracy",)

    kind: Literal["categorical"]
    values: Annotated[tuple[str, ...], Field(min_length=1)]
    """Every value there is, without missing ones and `n/a`."""

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        _distinct_values(self.values)
        return self

    def _no_subgroups(self, edges: tuple[float, ...]) -> str | None:
        return _edges_beside_values(edges)


# 3 is read as "3", as it stands in the table's cell.
Grade = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]


class Ordinal(FieldSettings):
    """One of a list of grades in rising order, evenly spaced; the column has the field's name."""

    statistics = ("rank_correlation", "within_one_step", "mean_absolute_error_steps")

    kind: Literal["ordinal"]
    values: Annotated[tuple[Grade, ...], Field(min_length=2)]
    """Every grade in rising order."""

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        _distinct_values(self.values)
        return self

    def _no_subgroups(self, edges: tuple[float, ...]) -> str | None:
        return _edges_beside_values(edges)


class Number(FieldSettings):
    """A number within a range; the column has the field's name."""

    statistics = ("mean_absolute_error", "rank_correlation")

    kind: Literal["number"]
    range: tuple[float, float]
    """[lowest, highest]; a row outside is quarantined."""
    unit: str = ""
    """For people."""

    def _no_subgroups(self, edges: tuple[float, ...]) -> str | None:
        return None if edges else "a number needs the edges of its bands, got []"

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)} does not rise")
        return self


class MultiLabel(FieldSettings):
    """Any number of a closed list of labels; the column has the field's name, its cell lists them.

    Each label is dropped in training, guided and counted on its own.
    """

    statistics = ("sensitivity", "specificity", "balanced_accuracy")

    kind: Literal["multi_label"]
    values: Annotated[tuple[str, ...], Field(min_length=1)]
    """Every label there is."""
    none: str = "no finding"
    """The cell of an image that shows none of them; an empty cell is missing."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] = "|"
    """The character between labels in a cell."""

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        _distinct_values((*self.values, self.none))
        for value in (*self.values, self.none):
            if self.separator in value or value != value.strip():
                raise ValueError(f"{value!r} holds {self.separator!r}, which separates values, or blanks at an end")
        return self


class Lesions(FieldSettings):
    """A set of lesions: columns `<field>_x`, `<field>_y` (for volumes `<field>_z`) and `<field>_size`.

    Places are fractions of the image's extent from its first column, row (and slice); the size is the lesion's
    diameter as a fraction of the image's width. Where `most` is above 1 the columns are `<field>_1_x` to
    `<field>_N_size`; their order means nothing, and the cells of a lesion that is not there are `n/a`. A plan's rows
    are matched with training rows slot by slot: fill slots from the first on.
    """

    statistics = (
        *("centre_error_px", "size_error_px", "detection_sensitivity"),
        *("lesion_severity_error", "lesion_kind_accuracy"),
    )

    kind: Literal["lesions"]
    most: Count = 1
    """The largest number of lesions in one image."""
    severity: str | None = None
    """The number condition that sets how strongly all of them are drawn."""
    graded: bool = False
    """A column `<field>_severity` for each lesion, from 0 to 1."""
    kinds: tuple[str, ...] = ()
    """Kinds of lesion; a column `<field>_kind` for each lesion."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        _distinct_values(self.kinds)
        if self.graded and self.severity is not None:
            raise ValueError(f"graded gives each lesion its own severity, severity {self.severity!r} all of them one")
        return self

    def _columns(self, name: str, spatial_dims: int) -> tuple[str, ...]:
        slots = lesion_columns(name, spatial_dims, self.most, self.graded, bool(self.kinds))
        return tuple(column for slot in slots for column in slot)

    def _misfit(self, fields: Mapping[str, FieldSettings]) -> str | None:
        good = self.severity is None or isinstance(fields.get(self.severity), Number)
        return None if good else f"severity {self.severity!r} is not a number condition"


class Mask(FieldSettings):
    """The image's own label map, from the sample table's column `mask`.

    A sample is asked for by the mask of the training image from which its open conditions are drawn.
    """

    statistics = ("mean_dice", "volume_similarity")

    kind: Literal["mask"]

    def _columns(self, name: str, spatial_dims: int) -> tuple[str, ...]:
        return ()

    def _misfit(self, fields: Mapping[str, FieldSettings]) -> str | None:
        masks = [name for name, field in fields.items() if isinstance(field, Mask)]
        return None if len(masks) == 1 else f"{' and '.join(masks)} are each the image's mask, expected one of them"


if TYPE_CHECKING:
    ConditionField = FieldSettings
else:
    _kinds: Any = reduce(or_, (entry.load_settings() for entry in registry.CONDITIONS.values()))
    ConditionField = Annotated[_kinds, Field(discriminator="kind")]


def columns_of(fields: Mapping[str, ConditionField], spatial_dims: int) -> list[str]:
    """The columns of the sample table that hold these conditions."""
    return [column for name, field in fields.items() for column in field._columns(name, spatial_dims)]


def refuse_misfits(fields: Mapping[str, ConditionField], spatial_dims: int) -> None:
    """Refuse conditions that do not go together: of one column, of medsynth's own, of a severity that is no number.

    Raises:
        ValueError: names the condition, and the column or the key.
    """
    taken: dict[str, str] = {}
    for name, field in fields.items():
        for column in field._columns(name, spatial_dims):
            other = column if column != name and column in fields else taken.get(column)
            if other is not None:
                raise ValueError(f"conditions.{name} and conditions.{other} both have the column {column!r}")
            if column in RESERVED or column.startswith(PREDICTED):
                raise ValueError(f"conditions.{name}: {column!r} is a column of medsynth's own, take another name")
            taken[column] = name
        if reason := field._misfit(fields):
            raise ValueError(f"conditions.{name}: {reason}")
