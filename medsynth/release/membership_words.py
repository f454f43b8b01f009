"""What the card says of the membership audit."""

from __future__ import annotations

import pandas as pd

from medsynth.config.membership import AUC, METRICS, P_VALUE
from medsynth.release.findings import interval, short
from medsynth.release.markdown import plain


def is_of_membership(metrics: pd.DataFrame) -> pd.Series:
    """(n,) which lines are of the step `membership`."""
    return metrics["metric"].isin(METRICS)


def membership_words(metrics: pd.DataFrame) -> str:
    """The audit's own conclusion, and the AUC of its best score.

    Args:
        metrics: metrics.csv and membership.csv as text.
    """
    whole = metrics[is_of_membership(metrics) & (metrics["group"] == "all")]
    lines = {row["metric"]: row for row in whole.to_dict("records")}
    if not lines:
        return "Membership inference: not measured."
    auc = lines[AUC]
    said = lines.get(P_VALUE, auc)["note"]
    words = f"Membership inference: {plain(said)}."
    if auc["value"]:
        words += (
            f" Its AUC is {short(auc['value'])} ({interval(auc)}), of held-out subjects alone {short(auc['floor'])}."
        )
    return words
