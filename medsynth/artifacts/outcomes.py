"""gates.csv: what the gates found of a whole run, written by the step `gates`, read by what hands the run over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medsynth.config.gates import NEVER_WAIVED, NOT_ENFORCED
from medsynth.disk import tables
from medsynth.errors import InputError

FILE = "gates.csv"
PASS, FAIL, INSUFFICIENT = RESULTS = ("pass", "fail", "insufficient")
COLUMNS = (
    *("gate", "result", "metric", "group", "value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic"),
    *("expected", "note", "waived"),
)


@dataclass(frozen=True)
class Outcome:
    """One gate.

    Attributes:
        result: fail if a line of it fails; insufficient if none fails and one is insufficient; else pass.
        reasons: what each line says that has this result; none for pass.
        waived: why it may fail; empty if it may not.
        waivable: whether a reason may be given.
    """

    name: str
    result: str
    reasons: tuple[str, ...]
    waived: str
    waivable: bool

    @property
    def said(self) -> str:
        """The result in a few words."""
        if self.result != FAIL or not self.waived:
            return self.result
        return f"{FAIL}, not enforced" if self.waived == NOT_ENFORCED else f"{FAIL}, waived"

    @property
    def stops(self) -> bool:
        """Whether nothing may be released."""
        return self.result == FAIL and not self.waived


def outcomes(table: pd.DataFrame) -> list[Outcome]:
    """One for each gate of gates.csv, in its order."""
    found = []
    for name, rows in table.groupby("gate", sort=False):
        result = next((each for each in (FAIL, INSUFFICIENT) if (rows["result"] == each).any()), PASS)
        of_result = rows[rows["result"] == result]
        reasons = tuple(_reason(row) for row in of_result.to_dict("records")) if result != PASS else ()
        waivable = name not in NEVER_WAIVED
        waived = rows["waived"].iloc[0] if waivable else ""
        found.append(Outcome(str(name), result, tuple(dict.fromkeys(reasons)), waived, waivable))
    return found


def refusals(table: pd.DataFrame) -> list[str]:
    """Why nothing may be released, one line for each gate that fails and is not waived; empty where something may."""
    lines = []
    for found in outcomes(table):
        if found.stops:
            how = f"to release nevertheless, write why in gates.{found.name}.waived of the configuration"
            how = how if found.waivable else "this gate is never waived"
            lines.append(f"gate {found.name} failed: {'; '.join(found.reasons)}; {how}")
    return lines


def read(path: Path) -> pd.DataFrame:
    """gates.csv as text.

    Raises:
        InputError: it is missing, damaged, or has a result that is none.
    """
    table = tables.read(path, COLUMNS)
    unknown = table.loc[~table["result"].isin(RESULTS), "result"]
    if len(unknown) or not len(table):
        got = f"result {unknown.iloc[0]!r}" if len(unknown) else "no gate"
        raise InputError(f"{path}: damaged ({got}); remove it and make it again")
    return table


def _reason(row: Mapping[Any, Any]) -> str:
    if row["result"] == INSUFFICIENT:
        return str(row["note"])
    if row["value"] == "":
        return f"{row['metric']}: {row['note']}"
    where = "" if row["group"] in ("", "all") else f" of {row['group']}"
    return f"{row['metric']}{where} is {float(row['value']):.3g}, expected {row['expected']}"
