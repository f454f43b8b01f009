"""The step `gates`: whether a run may be released, by thresholds over its metrics. It refuses nothing itself.

A gate judges a whole run; the checks of `evaluate` give each sample its verdict. A gate passes, fails, or is
insufficient: too little is known to tell. What fails is written down and not raised, so that it can be looked at; the
step `release` then releases nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from medsynth.artifacts.outcomes import COLUMNS, FILE, PASS, outcomes
from medsynth.config import GatesSettings
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.gates import origin
from medsynth.gates.thresholds import judge

NUMBERS = ("value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic")

log = logging.getLogger(__name__)


def gates(settings: GatesSettings, run: origin.Run, out: Path) -> None:
    """Write gates.csv, whole or not at all; the log warns of each gate that does not pass."""
    table = look(settings, run)
    with folder_written_whole(out) as part:
        tables.write(part / FILE, table)
    for found in outcomes(table):
        if found.result != PASS:
            first, *others = found.reasons
            more = f" ({len(others)} more in {FILE})" if others else ""
            log.warning("gate %s: %s: %s%s", found.name, found.said, first, more)


def look(settings: GatesSettings, run: origin.Run) -> pd.DataFrame:
    """gates.csv: integrity and lineage, then the gates over metrics in the order of the settings.

    Raises:
        InputError: metrics.csv has a text where a number stands.
    """
    test = run.store.samples[run.store.samples["split"] == "test"]
    label, subjects = run.store.info.label, test["subject_id"].nunique()
    run = replace(run, metrics=_with_numbers(run.metrics))
    rows = [*origin.integrity(run), *origin.lineage(run)]
    for name, gate in settings.gates.items():
        rows += judge(name, gate, run.metrics, settings.measured, label, subjects, len(run.rows))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(object).fillna("")


def _with_numbers(metrics: pd.DataFrame) -> pd.DataFrame:
    """Text as numbers, in the columns that hold some; an empty cell is NaN."""
    try:
        numbers = {column: pd.to_numeric(metrics[column].mask(metrics[column] == "")) for column in NUMBERS}
    except ValueError as error:
        raise InputError(f"metrics.csv: damaged ({error}); remove it and evaluate again") from None
    return metrics.assign(**numbers)
