"""Do the images show what was asked for? What the reader reads from them, beside what it reads from real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from medsynth import registry
from medsynth.conditions.kind import Kind
from medsynth.conditions.statistics import Statistic
from medsynth.evaluate import fidelity
from medsynth.evaluate.metrics.metric import Evidence, Metric, Row, statistic_row


def _rows(evidence: Evidence) -> Iterator[Row]:
    """Every statistic of the fields' kinds, kinds in the registry's order."""
    order = list(registry.CONDITIONS)
    statistics: dict[str, list[tuple[Kind, Statistic]]] = {}
    for kind in sorted(evidence.schema.kinds.values(), key=lambda kind: order.index(kind.settings.kind)):
        for statistic in kind.statistics:
            statistics.setdefault(statistic.name, []).append((kind, statistic))
    for of in statistics.values():
        yield from _rows_of(of, evidence)


def _rows_of(statistics: Sequence[tuple[Kind, Statistic]], evidence: Evidence) -> Iterator[Row]:
    """Each field that has the statistic; the floor is the same readers on test images."""
    for kind, statistic in statistics:
        pair = [
            kind.asked_and_read(side.table, side.masks, side.reading, evidence.shape)
            for side in (evidence.synthetic, evidence.test)
        ]
        for (part, synthetic), (_, real) in zip(*map(kind.by_part, pair), strict=True):
            yield _row(kind, statistic, part, part, synthetic, real, evidence)
        for group in evidence.groups():
            if group.field == kind.name:
                asked = kind.asked_as(group.value)
                chosen, held_out = ([part[arrays[0] == asked] for part in arrays] for arrays in pair)
                yield _row(kind, statistic, kind.name, group.name, chosen, held_out, evidence)


def _row(
    kind: Kind,
    statistic: Statistic,
    part: str,
    group: str,
    synthetic: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    evidence: Evidence,
) -> Row:
    """A share of images is weighted so that each class counts as often as in the test images.

    Its floor is of the classes that were asked for, as it is.
    """
    name = statistic.name, statistic.higher_is_better
    notes: list[str] = []
    if statistic.hits is None:
        row = statistic_row(name, group, statistic.of, synthetic, real, evidence)
    else:
        hits, of_real = (statistic.hits(*arrays) for arrays in (synthetic, real))
        weights = None
        if kind.has_classes and group == part:
            weights, notes = fidelity.class_weights(real[0], synthetic[0])
            asked_for = np.isin(real[0], synthetic[0])
            of_real = of_real[asked_for] if asked_for.any() else of_real
        row = statistic_row(name, group, np.mean, [hits], [of_real], evidence, weights)
    inadequate = evidence.inadequate.get((part, statistic.name), "")
    why = evidence.checks.off.get(group.partition("=")[2], "") if kind.name == evidence.label else ""
    off = f"misread check off: {why}" if why and not inadequate else ""
    return replace(row, note="; ".join(filter(None, [inadequate, row.note, *notes, off])))


ADHERENCE = Metric(frozenset({"readings"}), _rows)
