"""metrics.csv, and the tables in its columns that further steps leave: what is known of a run, in one frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from medsynth.disk import tables
from medsynth.errors import InputError

NUMBERS = ("value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic")
REQUIRED = ("metric", "group", *NUMBERS, "note")  # the others are for people


@dataclass(frozen=True)
class Row:
    """One line: a value, its own 95 % interval, and what held-out real images reach (the floor).

    Attributes:
        higher_is_better: None where neither is, and the value is to be compared with the floor.
        extractor: what took the features that it is measured in; empty for none.
    """

    metric: str
    group: str
    value: float
    ci_low: float
    ci_high: float
    floor: float
    n_real: int
    n_synthetic: int
    higher_is_better: bool | None
    note: str = ""
    extractor: str = ""


COLUMNS = tuple(field.name for field in fields(Row))


def as_table(rows: Iterable[Row]) -> pd.DataFrame:
    """A row for each line, in their order; the columns are there without any."""
    return pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """All lines of the tables as text, in their order.

    Raises:
        InputError: a table is missing or damaged, or two lines are of the same metric and group.
    """
    found: list[pd.DataFrame] = []
    for path in paths:
        table = tables.read(path, REQUIRED)
        with_numbers(table, str(path))
        found.append(table.reindex(columns=list(COLUMNS), fill_value=""))
        lines = pd.concat(found)
        if (twice := lines.duplicated(["metric", "group"])).any():
            metric, group = lines.loc[twice, ["metric", "group"]].iloc[0]
            raise InputError(f"{path}: {metric} of {group} stands in it or in a table before it, expected it once")
    return pd.concat(found, ignore_index=True)


def with_numbers(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Text as numbers, in the columns that hold some; an empty cell is NaN.

    Raises:
        InputError: a text stands where a number should; names the table.
    """
    try:
        numbers = {column: pd.to_numeric(table[column].mask(table[column] == "")) for column in NUMBERS}
    except ValueError as error:
        raise InputError(f"{name}: damaged ({error}); remove it and make it again") from None
    return table.assign(**numbers)
