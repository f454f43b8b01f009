"""What a column of a released table holds: its type, its meaning, the values it allows. Described once, for the schema
beside the table and whatever else states its columns.

A description is a field of a Table Schema (Data Package 2.0, datapackage.org/standard/table-schema).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from medsynth.config.columns import NOT_APPLICABLE_TEXT, PREDICTED
from medsynth.disk.tables import as_it_was, harmless

MISSING_VALUES = ("", NOT_APPLICABLE_TEXT)
ROUNDING = 1e-5  # of a range: numbers are written with six digits
TYPES: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": {"true": True, "false": False}.__getitem__,
}
LESION = {  # the end of a column's name → what it holds
    "x": "place from the left edge, as a fraction of the image's width",
    "y": "place from the first row, as a fraction of the image's height",
    "z": "place from the first slice, as a fraction of the image's depth",
    "size": "diameter, as a fraction of the image's width",
    "severity": "severity",
    "kind": "kind",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        choices: every value that a cell may be, where it is one of a list.
        minimum, maximum: of numbers; None is no bound.
        pattern: regular expression that a whole cell matches, as it stands in the file; empty for any.
        required: no cell is missing or not applicable; unique: no two cells are alike.
        unit: for people.
    """

    name: str
    type: Literal["string", "integer", "number", "boolean"]
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str = ""
    required: bool = False
    unique: bool = False
    unit: str = ""

    def requested(self) -> Self:
        """The column as a release has it: of what images were asked for by."""
        return replace(self, description=f"Requested: {self.description}")

    def predicted(self) -> Self:
        """The column of what the reader read of it; no range, since a reading is not bound to it."""
        description = f"Read from the image by an independent reader: {self.description}"
        return replace(self, name=f"{PREDICTED}{self.name}", description=description, minimum=None, maximum=None)

    def value(self, cell: str) -> Any:
        """The value of a cell, None where it is missing or cannot apply.

        Raises:
            ValueError: it is not of the type.
        """
        if cell in MISSING_VALUES:
            return None
        try:
            value = TYPES[self.type](cell)
        except (ValueError, KeyError):
            raise ValueError(f"expected {self.type}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("expected a finite number")
        return value

    def problem(self, cell: str) -> str | None:
        """Why a cell, as `tables.read` gives it, is not allowed; None where it is."""
        try:
            value = self.value(cell)
        except ValueError as error:
            return str(error)
        if value is None:
            return "expected a value" if self.required else None
        if self.choices and cell not in self.choices:
            return f"expected {' or '.join(self.choices)}"
        slack = ROUNDING * ((self.maximum or 0) - (self.minimum or 0))
        if self.minimum is not None and value < self.minimum - slack:
            return f"expected at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum + slack:
            return f"expected at most {self.maximum:g}"
        if self.pattern and not re.fullmatch(self.pattern, harmless(cell)):
            return f"expected the form {self.pattern}"
        return None

    def field(self) -> dict[str, Any]:
        """The field of the Table Schema; choices as the file's cells have them."""
        bounds = {
            "required": self.required,
            "unique": self.unique,
            "enum": [harmless(choice) for choice in self.choices],
            "pattern": self.pattern,
        }
        constraints = {key: value for key, value in bounds.items() if value}
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        constraints |= {key: value for key, value in limits.items() if value is not None}
        field: dict[str, Any] = {"name": self.name, "type": self.type, "description": self.description}
        further = {"unit": self.unit, "constraints": constraints}
        return field | {key: value for key, value in further.items() if value}

    @classmethod
    def from_field(cls, field: Mapping[str, Any]) -> Self:
        """The inverse of `field`.

        Raises:
            KeyError, TypeError: it is no such field.
        """
        bounds = field.get("constraints", {})
        if field["type"] not in TYPES:
            raise TypeError(f"type {field['type']!r}")
        return cls(
            field["name"],
            field["type"],
            field["description"],
            tuple(as_it_was(choice) for choice in bounds.get("enum", ())),
            bounds.get("minimum"),
            bounds.get("maximum"),
            bounds.get("pattern", ""),
            bounds.get("required", False),
            bounds.get("unique", False),
            field.get("unit", ""),
        )


def of_lesion(name: str, field: str, kinds: tuple[str, ...]) -> Column:
    """A column of a field of lesions; kinds: the values of one that names the kind."""
    description = f"{field}: {LESION[name.rpartition('_')[2]]}"
    if kinds:
        return Column(name, "string", description, kinds)
    return Column(name, "number", description, minimum=0, maximum=1)


def refuse_number(text: str, low: float, high: float) -> str | None:
    """Why a cell is no number from low to high."""
    try:
        value = float(text)
    except ValueError:
        return "not a number"
    return None if low <= value <= high else f"not within {low:g} to {high:g}"  # NaN is within nothing
