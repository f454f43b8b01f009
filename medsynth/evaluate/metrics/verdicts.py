"""What the checks say of each image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from medsynth.config.columns import INADEQUATE
from medsynth.evaluate.metrics.metric import Evidence, Metric, Row, Side, image_rows


def _kept_rows(evidence: Evidence) -> Iterator[Row]:
    """Says where the check of the label is off: an image that is kept there was checked for copying alone."""
    off = evidence.checks.off
    for row in image_rows(("kept_rate", True), _kept, np.mean, evidence):
        field, _, value = row.group.partition("=")
        of = [name for name in off if not value or (field == evidence.label and name == value)]
        note = f"misread check off for {', '.join(of)}: {off[of[0]]}" if of else ""
        if of and off[of[0]].startswith(INADEQUATE):
            note = f"{off[of[0]]}; misread check off"
        yield replace(row, note="; ".join(filter(None, (note, row.note))))


def _kept(side: Side) -> np.ndarray:
    return side.verdicts["verdict"].to_numpy() == "kept"


KEPT_RATE = Metric(frozenset({"verdicts"}), _kept_rows)
