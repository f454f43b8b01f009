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

from medsynth.artifacts import measured
from medsynth.artifacts.outcomes import COLUMNS, FILE, PASS, outcomes
from medsynth.artifacts.store import Store
from medsynth.conditions.requests import lacking
from medsynth.config import GatesSettings
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.gates import origin
from medsynth.gates.thresholds import judge

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
        InputError: the metrics have a text where a number stands.
    """
    test = run.store.samples[run.store.samples["split"] == "test"]
    subjects = test["subject_id"].nunique()
    run = replace(run, metrics=measured.with_numbers(run.metrics, "metrics.csv"))
    rows = [*origin.integrity(run), *origin.lineage(run)]
    names = {"{label}": [run.store.info.label], "{targeted}": _targeted(settings, run.store)}
    for name, gate in settings.gates.items():
        rows += judge(name, gate, run.metrics, settings.measured, names, subjects, len(run.rows))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(object).fillna("")


def _targeted(settings: GatesSettings, store: Store) -> list[str]:
    """The groups of the classes that samples are made for."""
    label, request = store.info.label, settings.oversample
    values = store.info.condition_schema.fields[label].values  # type: ignore[attr-defined]  # a label has classes
    classes = [value for value in values if value == settings.targeted]
    if settings.targeted is None and request is not None and request.column == label:
        counts = lacking(values, store.split("train").samples[label], request.minimum)
        classes = [value for value, count in counts.items() if count]
    return [f"{label}={value}" for value in classes]
