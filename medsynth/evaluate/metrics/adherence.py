"""Do the images show what was asked for? What the reader reads from them, beside what it reads from real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medsynth import registry
from medsynth.conditions.kind import Kind, Statistic
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
    """Each field that has the statistic; the floor is the same reader on test images."""
    for kind, statistic in statistics:
        name = statistic.name, statistic.higher_is_better
        pair = [
            kind.asked_and_read(side.table, side.masks, side.reading, evidence.shape)
            for side in (evidence.synthetic, evidence.test)
        ]
        for (part, synthetic), (_, real) in zip(*map(kind.by_part, pair), strict=True):
            yield statistic_row(name, part, statistic.of, synthetic, real, evidence)
        for group in evidence.groups():
            if group.field == kind.name:
                asked = kind.asked_as(group.value)
                chosen, held_out = ([part[arrays[0] == asked] for part in arrays] for arrays in pair)
                yield statistic_row(name, group.name, statistic.of, chosen, held_out, evidence)


ADHERENCE = Metric(frozenset({"readings"}), _rows)
