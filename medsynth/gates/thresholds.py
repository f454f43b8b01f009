"""Compares lines of metrics.csv with the thresholds of a gate."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import pandas as pd

from medsynth import registry
from medsynth.artifacts.outcomes import COLUMNS, FAIL, INSUFFICIENT, PASS
from medsynth.config.columns import INADEQUATE
from medsynth.config.gates import BY_STATISTIC, OF_STEPS, Gate, Threshold

COPIED = ("group", "value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic")
Line = Mapping[Any, Any]


def judge(
    name: str,
    gate: Gate,
    metrics: pd.DataFrame,
    measured: tuple[str, ...],
    names: Mapping[str, Sequence[str]],
    subjects: int,
    samples: int,
) -> Iterator[dict[str, Any]]:
    """The lines of gates.csv of one gate; none where no threshold applies.

    Args:
        metrics: lines of metrics.csv and of further steps, numbers as numbers.
        measured: the metrics that these steps were asked for.
        names: what stands for others in `groups` → those, each of which makes a group.
        subjects: held-out test subjects; samples: all that were judged.
    """
    few = ""
    if subjects < gate.subjects:
        few = f"{subjects} subjects, needs {gate.subjects}"
    elif samples < gate.images:
        few = f"{samples} samples, needs {gate.images}"
    for threshold in gate.thresholds:
        patterns = [each for pattern in threshold.groups for each in _filled(pattern, names)]
        lines = [
            line
            for line in metrics[metrics["metric"] == threshold.metric].to_dict("records")
            if any(fnmatchcase(line["group"], pattern) for pattern in patterns)
        ]
        by_name = {*registry.METRICS, *chain.from_iterable(OF_STEPS.values())}
        home = threshold.metric if threshold.metric in by_name else BY_STATISTIC
        if not lines and (threshold.required or home not in measured):
            why = f"{threshold.metric} of {', '.join(patterns)} was not measured"
            yield row(name, INSUFFICIENT, threshold.metric, note=few or why, waived=gate.waived)
        for line in lines:
            result, note = (INSUFFICIENT, few) if few else _compare(threshold, line)
            copied = {column: line[column] for column in COPIED}
            expected = _expected(threshold, float(line["floor"]))
            yield row(name, result, threshold.metric, note=note, expected=expected, waived=gate.waived, **copied)


def _filled(pattern: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """The pattern with each name replaced by what it stands for, one pattern for each of several."""
    found = [pattern]
    for name, texts in names.items():
        if name in pattern:
            found = [each.replace(name, glob.escape(text)) for each in found for text in texts]
    return found


def row(gate: str, result: str, metric: str, note: str = "", waived: str | None = None, **cells: Any) -> dict[str, Any]:
    """One line of gates.csv; what is not given is empty."""
    given = {"gate": gate, "result": result, "metric": metric, "note": note, "waived": waived or "", **cells}
    return {column: given.get(column, "") for column in COLUMNS}


def _compare(threshold: Threshold, line: Line) -> tuple[str, str]:
    """The result, and why it is insufficient."""
    where = threshold.metric if line["group"] == "all" else f"{threshold.metric} of {line['group']}"
    inadequate = next((part for part in line["note"].split("; ") if part.startswith(INADEQUATE)), "")
    if inadequate:
        return INSUFFICIENT, f"{where}: {inadequate}"
    value, floor = float(line["value"]), float(line["floor"])
    if math.isnan(value):
        return INSUFFICIENT, f"{where}: {line['note'] or 'no value'}"
    if _looks_at_floor(threshold) and math.isnan(floor):
        return INSUFFICIENT, f"{where}: no floor"
    counts = {"images": line["n_synthetic"]}
    if not math.isnan(floor):
        counts = {"test images": line["n_real"], "synthetic images": line["n_synthetic"]}
    for images, count in counts.items():
        if count < threshold.fewest:
            return INSUFFICIENT, f"{where}: {count:g} {images}, needs {threshold.fewest}"
    if threshold.least_floor is not None and floor < threshold.least_floor:
        return INSUFFICIENT, f"{where}: {floor:.3g} on real images, needs {threshold.least_floor:g}"
    ends = (float(line["ci_low"]), float(line["ci_high"])) if threshold.whole_interval else (value, value)
    if any(map(math.isnan, ends)):
        return INSUFFICIENT, f"{where}: no interval"
    low, high = bounds(threshold, floor)
    if low <= ends[0] and ends[1] <= high:
        return PASS, ""
    if threshold.allow_for_chance and line["ci_low"] <= high and line["ci_high"] >= low:
        interval = f"{value:.3g} ({line['ci_low']:.3g} to {line['ci_high']:.3g})"
        return INSUFFICIENT, f"{where} is {interval}, expected {_expected(threshold, floor)}: its interval reaches that"
    if threshold.of_judge:
        return (
            INSUFFICIENT,
            f"{where} is {value:.3g}, expected {_expected(threshold, floor)}: the judge is not adequate",
        )
    return FAIL, ""


def bounds(threshold: Threshold, floor: float) -> tuple[float, float]:
    """The least and the greatest value that hold."""
    share, more = threshold.least_share_of_floor, threshold.most_over_floor
    least = (threshold.at_least, None if share is None else share * floor)
    most = (threshold.at_most, None if more is None else floor + more)
    low = max((bound for bound in least if bound is not None), default=-math.inf)
    return low, min((bound for bound in most if bound is not None), default=math.inf)


def _looks_at_floor(threshold: Threshold) -> bool:
    of_floor = (threshold.least_share_of_floor, threshold.most_over_floor, threshold.least_floor)
    return any(bound is not None for bound in of_floor)


def _expected(threshold: Threshold, floor: float) -> str:
    """The bounds in words."""
    low, high = bounds(threshold, floor)
    held_out = f" (real images {floor:.3g})" if _looks_at_floor(threshold) else ""
    least = f"at least {low:.3g}" if low > -math.inf else ""
    most = f"at most {high:.3g}" if high < math.inf else ""
    whole = " with its whole interval" if threshold.whole_interval else ""
    return " and ".join(filter(None, (least, most))) + whole + held_out
