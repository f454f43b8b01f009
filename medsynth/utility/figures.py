"""The figure of the step `utility`: dose and response, beside the other ways of training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medsynth.images.drawing import FAINT, INK, REAL, SYNTHETIC, subplots
from medsynth.utility.summary import AUROC


def dose_and_response(path: Path, measured: pd.DataFrame, dataset: str) -> None:
    """AUROC over the samples beside each real image, then every way of training, with intervals.

    Args:
        measured: utility.csv.
    """
    of_all = measured[(measured["metric"] == AUROC) & (measured["group"] == "all")]
    figure, (left, right) = subplots(1, 2, (9.5, 3.8))
    doses = of_all.dropna(subset=["dose"]).sort_values("dose")
    given = doses["n_synthetic"] / doses["n_real"]  # fewer may be there than the dose asks for
    left.fill_between(given, doses["ci_low"], doses["ci_high"], color=SYNTHETIC, alpha=0.15, lw=0)
    left.plot(given, doses["value"], color=SYNTHETIC, marker="o", markersize=4)
    baseline = of_all["baseline"].iloc[0]
    value = of_all.loc[of_all["arm"] == baseline, "value"].iloc[0]
    left.axhline(value, color=REAL, lw=1, ls="--")
    left.annotate(baseline, (0, value), xytext=(2, 3), textcoords="offset points", color=REAL, fontsize=8)
    left.set(xlabel="samples for each real image", ylabel="AUROC, test subjects", title=dataset)
    places = range(len(of_all))[::-1]
    spans = [of_all["value"] - of_all["ci_low"], of_all["ci_high"] - of_all["value"]]
    right.errorbar(of_all["value"], places, xerr=spans, fmt="o", color=INK, ecolor=FAINT, markersize=4)
    right.axvline(value, color=REAL, lw=1, ls="--")
    right.set_yticks(list(places), of_all["arm"])
    right.set(xlabel="AUROC, test subjects", title="SYNTHETIC: for research and teaching")
    figure.savefig(path)
