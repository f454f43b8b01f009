"""What the card says of the samples' worth to a classifier."""

from __future__ import annotations

import pandas as pd

from medsynth.artifacts.outcomes import PASS, outcomes
from medsynth.config.utility import MEASURED
from medsynth.release.findings import interval, short
from medsynth.release.markdown import plain, table

GATE = "utility"


def is_of_utility(metrics: pd.DataFrame) -> pd.Series:
    """(n,) which lines are of the step `utility`."""
    return metrics["metric"].isin(MEASURED)


def utility_table(metrics: pd.DataFrame, gates: pd.DataFrame) -> str:
    """The best arm, its difference to the baseline and the interval; and whether the gate found it shown.

    Args:
        metrics: metrics.csv and gain.csv as text; gates: gates.csv as text.
    """
    lines = metrics[is_of_utility(metrics)].to_dict("records")
    if not lines:
        return "Utility: not measured."
    shown = any(gate.name == GATE and gate.result == PASS for gate in outcomes(gates))
    said = "Utility was shown, by the gate `utility`." if shown else "**Utility not shown**, by the gate `utility`."
    rows = [
        (plain(row["metric"]), plain(row["group"]), plain(row["note"]), short(row["value"]), interval(row))
        for row in lines
    ]
    header = ("metric", "group", "best way of training over the better baseline", "difference", "CI")
    return f"{said}\n\n{table(header, ('---', '---', '---', '---:', '---'), rows)}"
