"""Do the images show what was asked for? What the reader reads from them, beside what it reads from real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from medsynth import registry
from medsynth.conditions.kind import Kind
from medsynth.conditions.statistics import SENSITIVITY, SPECIFICITY, Statistic
from medsynth.evaluate import fidelity
from medsynth.evaluate.metrics.metric import Evidence, Metric, Row, statistic_row


def _rows(evidence: Evidence) -> Iterator[Row]:
    """Every statistic of the fields' kinds, kinds in the registry's order; then each class against the others."""
    order = list(registry.CONDITIONS)
    statistics: dict[str, list[tuple[Kind, Statistic]]] = {}
    for kind in sorted(evidence.schema.kinds.values(), key=lambda kind: order.index(kind.settings.kind)):
        for statistic in kind.statistics:
            statistics.setdefault(statistic.name, []).append((kind, statistic))
    for of in statistics.values():
        yield from _rows_of(of, evidence)
    for kind in evidence.schema.kinds.values():
        if kind.has_classes:
            yield from _one_against_rest(kind, evidence)


def _rows_of(statistics: Sequence[tuple[Kind, Statistic]], evidence: Evidence) -> Iterator[Row]:
    """Each field that has the statistic; the floor is the same readers on test images."""
    for kind, statistic in statistics:
        pair = _asked_and_read(kind, evidence)
        for (part, synthetic), (_, real) in zip(*map(kind.by_part, pair), strict=True):
            yield _row(kind, statistic, part, part, synthetic, real, evidence)
        for group in evidence.groups():
            if group.field == kind.name:
                asked = kind.asked_as(group.value)
                chosen, held_out = ([part[arrays[0] == asked] for part in arrays] for arrays in pair)
                yield _row(kind, statistic, kind.name, group.name, chosen, held_out, evidence)


def _one_against_rest(kind: Kind, evidence: Evidence) -> Iterator[Row]:
    """Of each class: how often it is read where it was asked for, and not read where another was.

    The latter is weighted so that the other classes are in the shares of the test images.
    """
    pair = _asked_and_read(kind, evidence)
    unread = evidence.inadequate.get((kind.name, kind.statistics[0].name), "")
    for statistic, shown in ((SENSITIVITY, True), (SPECIFICITY, False)):
        assert statistic.hits is not None  # they are shares
        for group in evidence.groups():
            if group.field != kind.name:
                continue
            value = kind.asked_as(group.value)
            chosen = [asked[(asked == value) == shown] for asked, _ in pair]
            hits = [statistic.hits(asked == value, read == value) for asked, read in pair]
            name = statistic.name, statistic.higher_is_better
            yield share_row(name, group.name, hits, chosen, evidence, unread)


def _asked_and_read(kind: Kind, evidence: Evidence) -> list[tuple[np.ndarray, ...]]:
    """Of synthetic images and of test images."""
    return [
        kind.asked_and_read(side.table, side.masks, side.reading, evidence.shape)
        for side in (evidence.synthetic, evidence.test)
    ]


def share_row(
    name: tuple[str, bool | None],
    group: str,
    hits: Sequence[np.ndarray],
    classes: Sequence[np.ndarray],
    evidence: Evidence,
    note: str,
) -> Row:
    """A share of synthetic images, weighted so that each class counts as often as in the test images.

    Its floor is of the classes that were asked for, as it is.

    Args:
        hits, classes: (n,) of synthetic images, and of test images.
    """
    weights, notes = fidelity.class_weights(classes[1], classes[0])
    asked_for = np.isin(classes[1], classes[0])
    of_real = hits[1][asked_for] if asked_for.any() else hits[1]
    row = statistic_row(name, group, np.mean, [hits[0]], [of_real], evidence, weights)
    return replace(row, note="; ".join(filter(None, (note, row.note, *notes))))


def _row(
    kind: Kind,
    statistic: Statistic,
    part: str,
    group: str,
    synthetic: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    evidence: Evidence,
) -> Row:
    name = statistic.name, statistic.higher_is_better
    inadequate = evidence.inadequate.get((part, statistic.name), "")
    if statistic.hits is None:
        row = statistic_row(name, group, statistic.of, synthetic, real, evidence)
        row = replace(row, note="; ".join(filter(None, (inadequate, row.note))))
    else:
        hits = [statistic.hits(*arrays) for arrays in (synthetic, real)]
        weighted = kind.has_classes and group == part
        pair = zip((synthetic, real), hits, strict=True)
        classes = [arrays[0] if weighted else np.zeros(len(of)) for arrays, of in pair]
        row = share_row(name, group, hits, classes, evidence, inadequate)
    why = evidence.checks.off.get(group.partition("=")[2], "") if kind.name == evidence.label else ""
    off = f"misread check off: {why}" if why and not inadequate else ""
    return replace(row, note="; ".join(filter(None, (row.note, off))))


ADHERENCE = Metric(frozenset({"readings"}), _rows)
