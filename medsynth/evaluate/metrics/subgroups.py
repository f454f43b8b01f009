"""Are samples as good for every group of people? The class that is read, and the distance to real images, in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from medsynth.conditions.statistics import same
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.evaluate.metrics.adherence import share_row
from medsynth.evaluate.metrics.distances import FEATURES, kid_rows
from medsynth.evaluate.metrics.metric import Evidence, Metric, Row


def _accuracy_rows(evidence: Evidence) -> Iterator[Row]:
    """How often the label is read as it was asked; in few images, the row says that they tell too little."""
    kind = evidence.schema.kinds[evidence.label]
    unread = evidence.inadequate.get((kind.name, kind.statistics[0].name), "")
    sides = evidence.synthetic, evidence.test
    pair = [kind.asked_and_read(side.table, side.masks, side.reading, evidence.shape) for side in sides]
    given = [kind.asked(side.table, side.masks) for side in sides]
    for group in evidence.subgroups():
        rows = [group.rows(side.table) for side in sides]
        within = [chosen[of] for chosen, of in zip(rows, given, strict=True)]
        classes = [asked[chosen] for (asked, _), chosen in zip(pair, within, strict=True)]
        hits = [same(asked, read)[chosen] for (asked, read), chosen in zip(pair, within, strict=True)]
        row = share_row(("subgroup_accuracy", True), group.name, hits, classes, evidence, unread)
        subjects = evidence.test.table["subject_id"].to_numpy()[rows[1] & given[1]]
        people, samples = len(np.unique(subjects)), len(classes[0])
        few = f"insufficient: {people} test subjects and {samples} samples, needs {FEWEST_SUBJECTS} of each"
        yield (
            row
            if min(people, samples) >= FEWEST_SUBJECTS
            else replace(row, note="; ".join(filter(None, (row.note, few))))
        )


def _kid_rows(evidence: Evidence) -> Iterator[Row]:
    return kid_rows("subgroup_kid", evidence, evidence.subgroups())


SUBGROUP_ACCURACY = Metric(frozenset({"readings"}), _accuracy_rows)
SUBGROUP_KID = Metric(FEATURES, _kid_rows)
