"""What a team must know before it trains on the images, in words: read from metrics.csv."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from medsynth.config.columns import INADEQUATE
from medsynth.release.markdown import code, listed, plain, table

READ = 0.5  # of the real images of a class: where the predictor reads fewer, it is no judge of the class
FOLLOWED = 0.8  # of the share of real images that the predictor reads as labelled


def findings(metrics: pd.DataFrame, table: pd.DataFrame, label: str) -> str:
    """The card's first section.

    Args:
        metrics: metrics.csv as text.
        table: the samples with their verdicts.
        label: the condition that classes are of.
    """
    return f"""{_telling_apart(metrics)}

{_reading(metrics, label)}

{_following(metrics, label)}

{_check(table, label)}

{_screening(metrics)}"""


def is_inadequate(note: str) -> bool:
    return any(part.startswith(INADEQUATE) for part in note.split("; "))


def reads_label(metrics: pd.DataFrame, label: str) -> bool:
    """Whether the predictor was not found unable to read the label."""
    accuracy = metrics[(metrics["metric"] == "accuracy") & (metrics["group"] == label)]
    return not accuracy["note"].map(is_inadequate).any()


def short(cell: Any) -> str:
    """Three significant digits of a number; empty when there is none."""
    if cell == "" or pd.isna(cell):
        return ""
    number = float(cell)
    return str(int(number)) if number.is_integer() and abs(number) < 1e9 else f"{number:.3g}"


def interval(row: Mapping[Hashable, Any]) -> str:
    low, high = short(row["ci_low"]), short(row["ci_high"])
    return f"{low} to {high}" if low and high else ""


def _telling_apart(metrics: pd.DataFrame) -> str:
    """Whether `kid` of all images tells them from real ones."""
    rows = metrics[(metrics["metric"] == "kid") & (metrics["group"] == "all")].to_dict("records")
    if not rows or rows[0]["value"] == "":
        return "Whether the images as a whole can be told from real ones was not measured."
    low, floor = float(rows[0]["ci_low"]), float(rows[0]["floor"])
    values = f"`kid` {short(rows[0]['value'])} ({interval(rows[0])}), held-out real images {short(rows[0]['floor'])}"
    if low > floor:
        return f"**The images as a whole can be told from real ones**: {values}. Look at some before you use them."
    return f"By `kid`, the images as a whole are not told from real ones: {values}."


def _check(table: pd.DataFrame, label: str) -> str:
    """For which classes the misread check was off, and why."""
    off = table[table["misread_check"] != "on"]
    if not len(off):
        return f"The check for misread samples, described below, was on for every {label}."
    reasons = off.groupby("misread_check", sort=False)[label].unique()
    of = [
        f"{listed([plain(value or 'missing') for value in sorted(values)])} ({plain(str(why).removeprefix('off: '))})"
        for why, values in reasons.items()
    ]
    off_for = "; ".join(of)
    return f"**The check for misread samples was off for {off_for}.** There `kept` only means that no copy was found."


def _reading(metrics: pd.DataFrame, label: str) -> str:
    marked = metrics[metrics["note"].map(is_inadequate)]
    if not len(marked):
        return "No number below rests on a predictor that was found unable to read held-out real images."
    of = [group if group not in ("", "all") else metric for metric, group in marked[["metric", "group"]].to_numpy()]
    names = listed([plain(name) for name in dict.fromkeys(of)])
    text = (
        f"**The predictor cannot read {names} on held-out real images.** Numbers marked `{INADEQUATE}` are no evidence."
    )
    if reads_label(metrics, label):
        return text
    return f"{text} **No image was checked to show the {label} that it was asked for:** its label is unverified."


def _following(metrics: pd.DataFrame, label: str) -> str:
    """Which classes are read as asked, less often than FOLLOWED of what real images are, or not known to be."""
    of_class = (metrics["metric"] == "accuracy") & metrics["group"].str.startswith(f"{label}=")
    rows = metrics[of_class].to_dict("records")
    known = [row for row in rows if reads_label(metrics, label) and _is_known(row)]
    if not known:
        return f"Whether the images follow the {label} that was asked for is not known."
    weak = [row for row in known if float(row["value"]) < FOLLOWED * float(row["floor"])]
    sentences = []
    if weak:
        shown = [f"{_class_of(row)} ({short(row['value'])}, real images {short(row['floor'])})" for row in weak]
        sentences.append(
            f"**Not followed: {listed(shown)}.** The predictor reads this {label} in less than {FOLLOWED} times as "
            "many of the images that were asked for it as of real ones."
        )
    if followed := [_class_of(row) for row in known if row not in weak]:
        sentences.append(f"Read as asked at least {FOLLOWED} times as often as on real images: {listed(followed)}.")
    unknown = [row for row in rows if row not in known]
    if absent := [_class_of(row) for row in unknown if row["value"] == ""]:
        sentences.append(f"Not asked for: {listed(absent)}.")
    if unread := [_class_of(row) for row in unknown if row["value"] != ""]:
        sentences.append(
            f"**Not known: {listed(unread)}.** The predictor reads less than {READ:.0%} of the real images of it."
        )
    return " ".join(sentences)


def _is_known(row: Mapping[Hashable, Any]) -> bool:
    """Whether a class was asked for, and is read on real images."""
    return row["value"] != "" and row["floor"] != "" and float(row["floor"]) >= READ and not is_inadequate(row["note"])


def _class_of(row: Mapping[Hashable, Any]) -> str:
    return plain(str(row["group"]).partition("=")[2])


def _screening(metrics: pd.DataFrame) -> str:
    recall = metrics[metrics["metric"] == "copy_recall"]
    known = "Images were screened for copies of training images. This lowers the risk that one is left, no more."
    if not len(recall):
        return f"{known} No copies were planted in this run, so which share the screening finds is not known."
    rows = [
        (plain(row["group"]), short(row["value"]), interval(row), short(row["n_synthetic"]), plain(row["note"]))
        for row in recall.to_dict("records")
    ]
    header, aligned = ("copy, changed", "share found", "CI", "planted", "note"), ("---", "---:", "---", "---:", "---")
    return f"{known} Of copies that were planted, {code('copy_recall')}, it finds:\n\n{table(header, aligned, rows)}"
