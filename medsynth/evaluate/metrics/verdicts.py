"""What is known of each image: its likeness to a training image, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from medsynth.artifacts.reference import INADEQUATE
from medsynth.evaluate.metrics.metric import Evidence, Function, Metric, Row, Side, statistic_row


def _image_rows(
    name: tuple[str, bool | None], of: Callable[[Side], np.ndarray], statistic: Function, evidence: Evidence
) -> Iterator[Row]:
    """Something known of each image; the floor is the same of test images."""
    for group in evidence.groups():
        synthetic, real = (of(side)[group.rows(side.table)] for side in (evidence.synthetic, evidence.test))
        yield statistic_row(name, group.name, statistic, [synthetic], [real], evidence)


def _copy_rows(evidence: Evidence) -> Iterator[Row]:
    limit, quantile = evidence.gates.similarity_limit, evidence.settings.evaluation.max_similarity_quantile
    note = f"similarity above {limit:.4f}, quantile {quantile:g} of the validation images"
    for row in _image_rows(("copy_rate", False), lambda side: side.similarity > limit, np.mean, evidence):
        yield replace(row, note="; ".join(filter(None, (row.note, note))))


def _kept_rows(evidence: Evidence) -> Iterator[Row]:
    """Says where the gate that looks at the label is off: an image that is kept there was checked for copying alone."""
    off = evidence.gates.off
    for row in _image_rows(("kept_rate", True), _kept, np.mean, evidence):
        field, _, value = row.group.partition("=")
        of = [name for name in off if not value or (field == evidence.label and name == value)]
        note = f"misread gate off for {', '.join(of)}: {off[of[0]]}" if of else ""
        if of and off[of[0]].startswith(INADEQUATE):
            note = f"{off[of[0]]}; misread gate off"
        yield replace(row, note="; ".join(filter(None, (note, row.note))))


def _similarity(side: Side) -> np.ndarray:
    return side.similarity


def _kept(side: Side) -> np.ndarray:
    return side.verdicts["verdict"].to_numpy() == "kept"


# No direction: noise is like no training image, and copies are like one.
NEAREST_SIMILARITY = Metric(
    frozenset({"similarity"}), partial(_image_rows, ("nearest_similarity", None), _similarity, np.median)
)
COPY_RATE = Metric(frozenset({"similarity"}), _copy_rows)
KEPT_RATE = Metric(frozenset({"verdicts"}), _kept_rows)
