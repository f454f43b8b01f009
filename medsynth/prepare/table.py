"""The sample table: read it, check every row, split it by subject. A row that cannot be used is never lost:
it becomes a `Rejection`, which quarantine.csv lists."""

from __future__ import annotations

import difflib
import hashlib
import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import SPLITS, Bins, PrepareSettings, Split, TableSource
from medsynth.config.columns import NOT_APPLICABLE_TEXT
from medsynth.config.datasets import OPTIONAL_COLUMNS, REQUIRED_COLUMNS
from medsynth.disk import tables
from medsynth.errors import InputError

SHOWN_REASONS = 3
AS_NAMED = TableSource(kind="table", table="")  # every column has its own name


@dataclass(frozen=True)
class Sample:
    """One row of the table that passed its checks.

    Attributes:
        source_row: 1 for the first row below the header.
        image: path as the table has it.
        mask: path as the table has it, `n/a` where there is nothing to outline, empty if the table has no masks.
        split: as the table has it, empty if the table has none.
        cells: the condition columns.
    """

    source_row: int
    image: str
    subject_id: str
    cells: dict[str, str]
    mask: str = ""
    split: str = ""


@dataclass(frozen=True)
class Rejection:
    """Why a row cannot be used; the columns of quarantine.csv."""

    source_row: int
    image: str
    column: str
    value: str
    reason: str


@dataclass(frozen=True)
class SampleTable:
    """A table whose every row is in `samples` or in `rejected`, both in the table's order."""

    rows: int
    samples: list[Sample]
    rejected: list[Rejection]
    has_masks: bool


def read_samples(path: Path, schema: ConditionSchema, source: TableSource = AS_NAMED) -> SampleTable:
    """Read a CSV or TSV and check what can be checked without opening an image.

    Args:
        source: how the table names its columns, which cells are missing values, and what is binned. Rejections name
            columns as the configuration does.
    Raises:
        InputError: the table cannot be read, is empty, or lacks a column.
    """
    header, rows = tables.read_rows(path)
    places = _places(path, header, schema, source)
    samples: list[Sample] = []
    rejected: list[Rejection] = []
    for source_row, row in enumerate(rows, start=1):
        cells = {name: row[place] if place < len(row) else "" for name, place in places.items()}
        cells |= {name: "" for name in schema.columns if cells[name] in source.missing}
        cells |= {name: _label(bins, cells[name]) for name, bins in source.bins.items()}
        if len(row) != len(header):
            reason = f"{len(row)} cells, the header has {len(header)}"
            rejected.append(Rejection(source_row, cells["image"], "", "", reason))
        elif problem := _problem(cells, schema):
            column, reason = problem
            rejected.append(Rejection(source_row, cells["image"], column, cells[column], reason))
        else:
            shown = {column: cells[column] for column in schema.columns}
            optional = {column: cells[column] for column in OPTIONAL_COLUMNS if column in cells}
            samples.append(Sample(source_row, cells["image"], cells["subject_id"].strip(), shown, **optional))
    samples, torn = _reject_torn_subjects(samples)
    rejected = sorted([*rejected, *torn], key=lambda rejection: rejection.source_row)
    assert len(samples) + len(rejected) == len(rows)
    return SampleTable(len(rows), samples, rejected, "mask" in places)


def _places(path: Path, header: list[str], schema: ConditionSchema, source: TableSource) -> dict[str, int]:
    """Where in a row each column that is read stands."""
    places = {}
    for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *schema.columns):
        column = source.bins[name].column if name in source.bins else source.columns.get(name, name)
        if column in header:
            places[name] = header.index(column)
        elif column is not None and (name in source.columns or name not in OPTIONAL_COLUMNS):
            near = difflib.get_close_matches(column, header, n=1, cutoff=0.0)
            for_what = "" if column == name else f" for {name}"
            raise InputError(f"{path}: no column {column!r}{for_what}, the nearest is {near[0]!r}")
    return places


def _label(bins: Bins, text: str) -> str:
    """The label of a number's bin; what is no number is kept, to be checked as it stands."""
    try:
        number = float(text)
    except ValueError:
        return text
    return text if math.isnan(number) else bins.labels[bisect_right(bins.edges, number)]


def _problem(cells: Mapping[str, str], schema: ConditionSchema) -> tuple[str, str] | None:
    """The first column of a row that cannot be used, and why."""
    for column in ("image", "subject_id"):
        if not cells[column].strip():
            return column, "missing"
    if "split" in cells and cells["split"] not in SPLITS:
        return "split", f"not one of {', '.join(SPLITS)}"
    if "mask" in cells and not cells["mask"]:
        return "mask", f"missing, expected a path or {NOT_APPLICABLE_TEXT}"
    return schema.check_row(cells)


def _reject_torn_subjects(samples: list[Sample]) -> tuple[list[Sample], list[Rejection]]:
    """Take out every row of a subject that stands in two splits: any choice between them would be a guess."""
    splits: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        splits[sample.subject_id].add(sample.split)
    torn = {subject: sorted(found, key=SPLITS.index) for subject, found in splits.items() if len(found) > 1}
    rejected = [
        Rejection(
            sample.source_row,
            sample.image,
            "split",
            sample.split,
            f"subject {sample.subject_id} is in {' and '.join(torn[sample.subject_id])}",
        )
        for sample in samples
        if sample.subject_id in torn
    ]
    return [sample for sample in samples if sample.subject_id not in torn], rejected


def refuse_too_many(rejected: Sequence[Rejection], rows: int, max_bad_fraction: float) -> None:
    """Stop at a source of which more than a share cannot be used.

    Raises:
        InputError: their number, share and first reasons.
    """
    if len(rejected) > max_bad_fraction * rows:
        shown = "; ".join(
            f"row {bad.source_row} ({bad.image}): {bad.column} {bad.reason}" for bad in rejected[:SHOWN_REASONS]
        )
        share = f"{len(rejected) / rows:.1%}, at most {max_bad_fraction:.1%} may be bad"
        raise InputError(f"{len(rejected)} of {rows} rows cannot be used ({share}): {shown}")


# --- the split --------------------------------------------------------------------------------------------------


def strata(settings: PrepareSettings) -> tuple[str, ...]:
    """The fields that the split is stratified by, the label first."""
    return (settings.label, *(name for name in settings.strata or () if name != settings.label))


def split_samples(samples: Sequence[Sample], strata: Sequence[str], shares: Split, seed: int) -> dict[str, str]:
    """Subject → split: as the table says if it says so, else drawn.

    Args:
        strata: fields, the label first.
    Raises:
        InputError: a split without a subject, or a class with too few subjects.
    """
    if any(sample.split for sample in samples):
        chosen = {sample.subject_id: sample.split for sample in samples}
    else:
        rows = ((sample.subject_id, tuple(sample.cells[name] for name in strata)) for sample in samples)
        chosen = draw_split(rows, strata[0], shares, seed)
    if empty := [split for split in SPLITS if split not in chosen.values()]:
        counts = Counter(chosen.values())
        found = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
        raise InputError(f"no subject is in {' or '.join(empty)}, every split needs one (subjects: {found})")
    return chosen


def draw_split(rows: Iterable[tuple[str, tuple[str, ...]]], label: str, shares: Split, seed: int) -> dict[str, str]:
    """Split subjects so that every stratum is in every split; neither the order nor the number of rows matters.

    A subject's value of a field is what most of its rows have. A stratum is a combination of values, the class first.
    Those of a class that have fewer subjects than there are splits are one stratum together. A stratum may be smaller
    than that: of subjects without a class, or of a class that others have in fewer of their rows, as slices of one
    volume show several regions.

    Args:
        rows: subject and the values of the fields of every row.
        label: the first of these fields, for the error.
    Raises:
        InputError: a class that fewer subjects have than there are splits.
    """
    votes: dict[str, list[Counter[str]]] = {}
    for subject, values in rows:
        for counts, value in zip(votes.setdefault(subject, [Counter() for _ in values]), values, strict=True):
            counts[value] += value not in ("", NOT_APPLICABLE_TEXT)
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for subject, fields in votes.items():
        found[tuple(_most_common(counts) for counts in fields)].append(subject)
    classes: dict[str, int] = Counter()
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for values, subjects in found.items():
        classes[values[0]] += len(subjects)
        groups[values if len(subjects) >= len(SPLITS) else values[:1]] += subjects
    having = Counter(value for counts, *_ in votes.values() for value, count in counts.items() if count)
    if small := {value: having[value] for value in classes if value and having[value] < len(SPLITS)}:
        counted = ", ".join(f"{value!r} has {count}" for value, count in sorted(small.items()))
        raise InputError(f"{label} {counted} subjects, a class needs at least {len(SPLITS)}: one for each split")

    chosen: dict[str, str] = {}
    for _, subjects in sorted(groups.items()):
        # Ordered by a digest and not by a generator: a subject keeps its place when others come and go.
        subjects.sort(key=lambda subject: hashlib.sha256(f"{seed}/{subject}".encode()).digest())
        shared = _allocate(len(subjects), (shares.train, shares.val, shares.test))
        names = [split for split, count in zip(SPLITS, shared, strict=True) for _ in range(count)]
        chosen.update(zip(subjects, names, strict=True))
    return dict(sorted(chosen.items()))


def _most_common(counts: Counter[str]) -> str:
    """The value that most rows have, the first in the alphabet of several; empty where none has one."""
    value, most = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return value if most else ""


def _allocate(count: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion (largest remainders), none of them zero if the count allows it."""
    exact = [share * count for share in shares]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda place: whole[place] - exact[place])
    for place in by_remainder[: count - sum(whole)]:
        whole[place] += 1
    while 0 in whole and count >= len(shares):
        whole[whole.index(max(whole))] -= 1
        whole[whole.index(0)] += 1
    return whole
