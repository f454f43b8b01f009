"""What the card says of groups of people."""

from __future__ import annotations

import pandas as pd

from medsynth.release.findings import interval, short
from medsynth.release.markdown import plain, table

ACCURACY, KID = METRICS = ("subgroup_accuracy", "subgroup_kid")


def is_of_subgroups(metrics: pd.DataFrame) -> pd.Series:
    """(n,) which lines are of groups of people."""
    return metrics["metric"].isin(METRICS)


def subgroup_table(metrics: pd.DataFrame) -> str:
    """One row a group: its accuracy and KID beside those of real images, and what is insufficient.

    Args:
        metrics: metrics.csv as text.
    """
    lines = {(row["group"], row["metric"]): row for row in metrics[is_of_subgroups(metrics)].to_dict("records")}
    if not lines:
        return "Not measured: no condition is a group of people, or the metrics of subgroups were left out."
    rows = []
    for group in dict.fromkeys(group for group, _ in lines):
        of = [lines[key] for name in METRICS if (key := (group, name)) in lines]
        known = {row["metric"]: row for row in of}
        cells = [
            cell
            for name in METRICS
            for cell in ((short(known[name]["value"]), interval(known[name]), short(known[name]["floor"]))
                         if name in known else ("", "", ""))
        ]  # fmt: skip
        counts = [short(of[0][column]) for column in ("n_real", "n_synthetic")]
        notes = dict.fromkeys(plain(row["note"]) for row in of if row["note"])
        rows.append((plain(group), *cells, *counts, "; ".join(notes)))
    header = ("group", "accuracy", "CI", "floor", "kid", "CI", "floor", "real", "synthetic", "note")
    return table(header, ("---", *["---:", "---", "---:"] * 2, "---:", "---:", "---"), rows)
