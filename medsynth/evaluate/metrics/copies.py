"""Screening for copies of training images: how like them samples are, and how many planted copies are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from medsynth.evaluate.metrics.metric import (
    NAN,
    Evidence,
    Metric,
    Row,
    Side,
    image_rows,
    share_interval,
    statistic_row,
)
from medsynth.judges.copies import LIKENESSES


def _similarity_rows(evidence: Evidence) -> Iterator[Row]:
    # No direction: noise is like no training image, and copies are like one.
    rows = image_rows(("nearest_similarity", None), lambda side: side.similarity, np.median, evidence)
    return _noted(rows, evidence.checks.copies.note())


def _copy_rows(evidence: Evidence) -> Iterator[Row]:
    limits, quantile = evidence.checks.copies, evidence.settings.evaluation.max_similarity_quantile
    above = " or ".join(f"{name} above {limits.above[name]:.4f}" for name in LIKENESSES)
    note = f"a screening: {above}, together the quantile {quantile:g} of the validation images"
    rows = image_rows(("copy_rate", False), lambda side: limits.exceeded(side.likeness), np.mean, evidence)
    return _noted(_noted(rows, note), limits.note())


def _test_copy_rows(evidence: Evidence) -> Iterator[Row]:
    """Share of samples that are copies of test images by the same limits; the floor is that of validation images.

    A generator that has learned from test subjects draws them again, and every comparison with them flatters it.
    """
    assert evidence.leaks is not None  # it is needed
    limits = evidence.checks.copies
    synthetic, real = (limits.exceeded(of.by_name) for of in (evidence.leaks.synthetic, evidence.leaks.validation))
    row = statistic_row(("test_copy_rate", False), "all", np.mean, [synthetic], [real], evidence)
    yield from _noted(iter([row]), "a screening, by the limits of copy_rate; the floor is of validation images")


def _kept_copy_rows(evidence: Evidence) -> Iterator[Row]:
    """Share of the kept samples that are copies by the limits: 0, unless a flagged sample was not rejected."""
    limits = evidence.checks.copies

    def flagged(side: Side) -> np.ndarray:
        return limits.exceeded(side.likeness)[side.verdicts["verdict"].to_numpy() == "kept"]

    synthetic, real = flagged(evidence.synthetic), flagged(evidence.test)
    row = statistic_row(("kept_copy_rate", False), "all", np.mean, [synthetic], [real], evidence)
    yield row if len(synthetic) else replace(row, note="no sample was kept")


def _noted(rows: Iterator[Row], note: str) -> Iterator[Row]:
    for row in rows:
        yield replace(row, note="; ".join(filter(None, (row.note, note))))


def _recall_rows(evidence: Evidence) -> Iterator[Row]:
    """Share of planted copies that the limits find, by kind of change, with its exact interval (Clopper-Pearson)."""
    for kind, likeness in evidence.planted.items():
        found = evidence.checks.copies.exceeded(dict(zip(LIKENESSES, likeness, strict=True)))
        note = "planted copies of training images"
        yield Row("copy_recall", kind, float(found.mean()), *share_interval(found), NAN, 0, len(found), True, note)


LIKENESS = frozenset({"similarity"})
NEAREST_SIMILARITY = Metric(LIKENESS, _similarity_rows)
COPY_RATE = Metric(LIKENESS, _copy_rows)
KEPT_COPY_RATE = Metric(LIKENESS | {"verdicts"}, _kept_copy_rows)
TEST_COPY_RATE = Metric(LIKENESS | {"leaks"}, _test_copy_rows)
COPY_RECALL = Metric(LIKENESS, _recall_rows)
