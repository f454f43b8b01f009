"""A line of metrics.csv, and of the other tables that gates can look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import pandas as pd


@dataclass(frozen=True)
class Row:
    """One line of metrics.csv: a value, its own 95 % interval, and what held-out real images reach (the floor).

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


def as_table(rows: Iterable[Row]) -> pd.DataFrame:
    """A row for each line, in their order; the columns are there without any."""
    return pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Row)])
