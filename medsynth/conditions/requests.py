"""What a plan asks for: the rows of its table, and what classes lack.

A table is checked when the workflow starts, since sampling may come hours later.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from medsynth.conditions.schema import ConditionSchema
from medsynth.config.section import refuse_unknown
from medsynth.disk import tables
from medsynth.errors import InputError

SHOWN_ROWS = 5
SHOWN_CHARACTERS = 120  # of a cell


def read_requests(path: Path, schema: ConditionSchema) -> tuple[list[str], list[list[str]]]:
    """The header, some of the schema's columns, and the rows of a plan's table; empty cells are left open.

    Raises:
        InputError: no table, an unknown column, or rows that cannot be used: a few of them, each with its column, its
            value and the nearest valid one.
    """
    header, rows = tables.read_rows(path)
    try:
        refuse_unknown("column", (column[:SHOWN_CHARACTERS] for column in header), schema.columns)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    found = ((number, _problem(header, row, schema)) for number, row in enumerate(rows, start=1))
    if bad := [f"row {number}: {problem}" for number, problem in found if problem]:
        more = f"; and {len(bad) - SHOWN_ROWS} more" if len(bad) > SHOWN_ROWS else ""
        shown = "; ".join(bad[:SHOWN_ROWS])
        raise InputError(f"{path}: {len(bad)} of {len(rows)} rows cannot be used: {shown}{more}")
    return header, rows


def _problem(header: list[str], row: list[str], schema: ConditionSchema) -> str | None:
    if len(row) != len(header):
        return f"{len(row)} cells, the header has {len(header)}"
    cells = dict(zip(header, row, strict=True))
    if not (problem := schema.check_row(cells)):
        return None
    column, reason = problem
    text = cells[column][:SHOWN_CHARACTERS]
    near = difflib.get_close_matches(text, schema.of_column[column].choices(column), n=1, cutoff=0.0)
    return f"{column} {text!r}: {reason}" + (f", the nearest is {near[0]!r}" if near else "")


def lacking(values: Sequence[str], training: Iterable[str], minimum: int | None) -> dict[str, int]:
    """How many images each value lacks to be that of `minimum` training images; None: as many as the largest has."""
    present = Counter(training)
    wanted = max(present[value] for value in values) if minimum is None else minimum
    return {value: max(0, wanted - present[value]) for value in values}
