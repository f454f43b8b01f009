"""The figure of the step `membership`: every score beside its floor and the canary."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medsynth.config.membership import AUC, CANARY_AUC, FLOOR_AUC
from medsynth.images.drawing import FAINT, INK, REAL, SYNTHETIC, subplots
from medsynth.membership.summary import CANARY_FOUND

SERIES = (
    (AUC, "training against test subjects", SYNTHETIC, -0.2),
    (FLOOR_AUC, "validation against test subjects", REAL, 0.0),
    (CANARY_AUC, "canaries, learnt by a copy", FAINT, 0.2),
)


def told_apart(path: Path, measured: pd.DataFrame, dataset: str) -> None:
    """AUC with its interval, of the best score and of each.

    Args:
        measured: membership.csv, with a value of each score.
    """
    groups = measured.loc[measured["metric"] == AUC, "group"].tolist()
    figure, axes = subplots(1, 1, (7.0, 1.6 + 0.35 * len(groups)))
    for metric, label, colour, offset in SERIES:
        of_metric = measured[(measured["metric"] == metric) & measured["value"].notna()]
        places = [groups.index(group) + offset for group in of_metric["group"]]
        spans = [
            (of_metric["value"] - of_metric["ci_low"]).clip(lower=0),
            (of_metric["ci_high"] - of_metric["value"]).clip(lower=0),
        ]
        axes.errorbar(
            of_metric["value"], places, xerr=spans, fmt="o", color=colour, ecolor=colour, markersize=4, label=label
        )
    axes.axvline(0.5, color=INK, lw=1, ls=":")
    axes.axvline(CANARY_FOUND, color=FAINT, lw=1, ls="--")
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.set(xlabel="AUC over subjects (0.5: not told apart)", title=dataset)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    figure.savefig(path)
