"""Images of different subjects that show the same: found, written to duplicates.csv, and kept on one side of the split.

A picture that was saved twice, or neighbouring slices of a patient who has several names, would otherwise stand in
training and test both. What is done with them, `source.duplicates` says:

- join: their subjects become one before the split, under the id that comes first in the alphabet. Where the table
  itself states the split, and puts the two in different ones, the later image is quarantined instead.
- quarantine: the later image in the table is quarantined.
- report: they are listed, and nothing else.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from medsynth.config import TableSource
from medsynth.disk import tables
from medsynth.prepare.table import Rejection, Sample

LARGEST = 0.2  # share of the images that one joined subject may hold without a warning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """Two images of different subjects that show the same; the columns of duplicates.csv.

    Attributes:
        source_row, image, subject_id, label: of the later one in the table, by what the table says.
        likeness: 1 for the same pixels.
        action: joined, quarantined or reported.
    """

    source_row: int
    image: str
    subject_id: str
    label: str
    like_source_row: int
    like_image: str
    like_subject_id: str
    like_label: str
    likeness: float
    action: str


@dataclass(frozen=True)
class Duplicates:
    """What was found, and what follows.

    Attributes:
        pairs: in the table's order.
        rejected: rows to quarantine.
        subjects: subject → the one that it is a part of; those that stay alone are left out.
        limit: likeness above which two images show the same; None where none were compared.
    """

    pairs: Sequence[Pair]
    rejected: Sequence[Rejection]
    subjects: Mapping[str, str]
    limit: float | None

    def write(self, path: Path) -> None:
        """Write duplicates.csv."""
        rows = (asdict(pair) | {"likeness": f"{pair.likeness:.4f}"} for pair in self.pairs)
        tables.write_rows(path, [field.name for field in fields(Pair)], rows)


NONE = Duplicates((), (), {}, None)


def find(
    images: np.ndarray,
    samples: Sequence[Sample],
    twins: Sequence[tuple[Sample, Sample]],
    source: TableSource,
    label: str,
) -> Duplicates:
    """Compare all images of different subjects.

    Args:
        images: uint16 (n, C, *spatial); samples: their n rows.
        twins: rows that were quarantined already, since they have the very pixels of another, and that other.
        label: column of the class; two images that show the same and differ in it are told of.
    """
    from medsynth.judges.neighbours import Neighbours  # brings torch, which a simulated collection does not need

    compared = Neighbours(images, np.array([sample.subject_id for sample in samples]))
    positions, likeness, limit = compared.duplicates(source.duplicate_likeness)
    found = [(*sorted((samples[a], samples[b]), key=lambda sample: sample.source_row), like)
             for (a, b), like in zip(positions, likeness.tolist(), strict=True)]  # fmt: skip
    pairs: list[Pair] = []
    rejected: dict[int, Rejection] = {}
    joined: list[tuple[str, str]] = []
    for first, later, like in sorted(found, key=lambda pair: (pair[1].source_row, pair[0].source_row)):
        action = "reported"
        if source.duplicates == "join" and first.split == later.split:
            action = "joined"
            joined.append((first.subject_id, later.subject_id))
        elif source.duplicates != "report":
            action = "quarantined"
            if not {first.source_row, later.source_row} & set(rejected):
                reason = f"shows the same as row {first.source_row} ({first.image}), likeness {like:.3f}"
                rejected[later.source_row] = Rejection(later.source_row, later.image, "image", later.image, reason)
        pairs.append(_pair(first, later, label, like, action))
    for first, later in twins:
        if first.subject_id != later.subject_id:
            if source.duplicates == "join" and first.split == later.split:
                joined.append((first.subject_id, later.subject_id))
            pairs.append(_pair(first, later, label, 1.0, "quarantined"))
    result = Duplicates(
        sorted(pairs, key=lambda pair: (pair.source_row, pair.like_source_row)),
        list(rejected.values()),
        _components(joined),
        limit,
    )
    _tell(result, samples, label)
    return result


def _pair(first: Sample, later: Sample, label: str, likeness: float, action: str) -> Pair:
    return Pair(
        later.source_row, later.image, later.subject_id, later.cells[label],
        first.source_row, first.image, first.subject_id, first.cells[label], likeness, action,
    )  # fmt: skip


def _components(joined: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Subject → the first in the alphabet of those that it is joined with, directly or through others."""
    if not joined:
        return {}
    names, ends = np.unique(np.array(joined), return_inverse=True)
    ends = ends.reshape(-1, 2)
    edges = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    _, component = connected_components(edges, directed=False)
    first = {number: str(names[np.flatnonzero(component == number)[0]]) for number in np.unique(component)}
    return {str(name): first[number] for name, number in zip(names, component, strict=True)}


def _tell(found: Duplicates, samples: Sequence[Sample], label: str) -> None:
    if not found.pairs:
        return
    actions = Counter(pair.action for pair in found.pairs)
    done = ", ".join(f"{count} {action}" for action, count in sorted(actions.items()))
    log.warning(
        "%d pairs of images of different subjects show the same (likeness above %.3f): %s; see duplicates.csv",
        len(found.pairs),
        found.limit,
        done,
    )
    if conflicts := [pair for pair in found.pairs if pair.label != pair.like_label]:
        pair = conflicts[0]
        log.warning(
            "%d of these pairs have two values of %s, of which at most one is right; the first: row %d (%s, %s) and "
            "row %d (%s, %s)",
            len(conflicts),
            label,
            pair.like_source_row,
            pair.like_image,
            pair.like_label,
            pair.source_row,
            pair.image,
            pair.label,
        )
    held = Counter(found.subjects.get(sample.subject_id, sample.subject_id) for sample in samples)
    subject, count = held.most_common(1)[0]
    if subject in found.subjects.values() and count > LARGEST * len(samples):
        log.warning(
            "the joined subject %s holds %d of %d images, more than %.0f %%: if these are of several patients, set "
            "source.duplicate_likeness above %.3f, or source.duplicates to quarantine or report",
            subject,
            count,
            len(samples),
            100 * LARGEST,
            found.limit,
        )
