"""The table of a release against the schema beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from medsynth.conditions.column import Column
from medsynth.errors import InputError

FILE = "metadata.schema.json"
SHOWN = 5  # problems of a column that are told one by one


def read_columns(folder: Path) -> tuple[Column, ...]:
    """The columns that the schema describes.

    Raises:
        InputError: it is no Table Schema as a release has one.
    """
    try:
        schema = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return tuple(Column.from_field(field) for field in schema["fields"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{FILE}: is no schema of a table ({type(error).__name__}: {error})") from None


def unlike_schema(table: pd.DataFrame, columns: tuple[Column, ...]) -> Iterator[str]:
    """Cells that are not as described, and columns that are not, or whose description says nothing."""
    described = [column.name for column in columns]
    if described != list(table.columns):
        apart = [name for name in (*described, *table.columns) if (name in described) != (name in table.columns)]
        yield f"{FILE}: describes other columns than metadata.csv has: {', '.join(apart) or 'in another order'}"
        return
    for column in columns:
        if not column.description:
            yield f"{FILE}: {column.name} has no description"
        problems = table[column.name].map(column.problem)
        if column.unique:
            problems = problems.where(~table[column.name].duplicated(), "expected once, stands twice")
        found = problems[problems.notna()]
        cells = zip(table["sample_id"][found.index], table[column.name][found.index], found, strict=True)
        for sample_id, cell, problem in list(cells)[:SHOWN]:
            yield f"metadata.csv: {sample_id}: {column.name} is {cell!r}, {problem}"
        if len(found) > SHOWN:
            yield f"metadata.csv: {column.name}: {len(found) - SHOWN} more cells are not as {FILE} describes them"
