"""The label: the column that classes, plans and verdicts go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medsynth.config import SPLITS
from medsynth.disk.tables import NUMBER
from medsynth.init.columns import Condition, condition_name, is_given, words
from medsynth.init.document import printable

LIKELY = {
    *("label", "labels", "class", "classes", "diagnosis", "dx", "pathology", "finding", "findings", "disease"),
    *("target", "category", "outcome", "abnormality", "tumor", "tumour", "lesion", "malignancy", "condition", "type"),
    *("grade", "stage", "severity", "birads", "dr", "level"),
}
UNLIKELY = {
    *("sex", "gender", "view", "position", "side", "laterality", "site", "center", "centre", "hospital", "scanner"),
    *("manufacturer", "vendor", "device", "fold", "split", "set", "year", "race", "ethnicity", "eye", "batch"),
}
MOST_LOST = 0.2  # share of the rows whose value is too rare for a class
THREE_BINS_FROM = 60  # images
BIN_LABELS = {2: ["low", "high"], 3: ["low", "middle", "high"]}


@dataclass(frozen=True)
class Label:
    """The label's condition, the bins that make it from a number, and why it was chosen."""

    condition: Condition
    notes: tuple[str, ...]
    bins: dict[str, Any] | None = None


def choose(conditions: Sequence[Condition], cells: dict[str, list[str]], subjects: Sequence[str]) -> Label | None:
    """The column best suited: called like a diagnosis, of classes with enough patients; else a number in bins.

    Args:
        cells: column → one cell for each row.
        subjects: the subject of each row.
    """
    able = [_with_enough_subjects(field, cells[field.column], subjects) for field in conditions if field.counts]
    usable = [label for label in able if label is not None]
    if usable:
        return max(usable, key=lambda label: _likelihood(label.condition, len(subjects)))
    for field in conditions:
        if field.kind == "number" and (label := _binned(field, cells[field.column], conditions)):
            return label
    return None


def _likelihood(field: Condition, rows: int) -> tuple[int, bool, float]:
    called = set(words(field.column))
    return (
        bool(called & LIKELY) - bool(called & UNLIKELY),
        field.kind == "categorical",
        field.counts.total() / rows,
    )


def _with_enough_subjects(field: Condition, cells: Sequence[str], subjects: Sequence[str]) -> Label | None:
    """A label of the values that have a patient for each split; none where too few rows or values are left.

    A patient may have several: slices of one volume show several regions.
    """
    if field.kind not in ("categorical", "ordinal"):
        return None
    patients = Counter(cell for _, cell in set(zip(subjects, cells, strict=True)) if is_given(cell))
    values = [value for value in field.settings["values"] if patients[value] >= len(SPLITS)]
    dropped = [value for value in field.settings["values"] if 0 < patients[value] < len(SPLITS)]
    lost = sum(field.counts[value] for value in dropped)
    if len(values) < 2 or lost > MOST_LOST * len(cells):
        return None
    notes = [f"The label is {printable(field.column)!r}: check that it is what classes should go by."]
    if field.kind == "ordinal":
        notes.append("Its grades are in order, but a label must be categorical.")
    if dropped:
        shown = ", ".join(printable(value, 40) for value in dropped)
        notes.append(
            f"Left out of it: {shown}, which fewer than {len(SPLITS)} patients have, one for each split; "
            f"their {lost} images go to quarantine.csv."
        )
    kept = Counter({value: field.counts[value] for value in values})
    own = tuple(note for note in field.notes if not note.startswith("Few whole numbers"))
    settings = {"kind": "categorical", "values": values}
    return Label(replace(field, settings=settings, notes=own, counts=kept), tuple(notes))


def _binned(field: Condition, cells: Sequence[str], conditions: Sequence[Condition]) -> Label | None:
    """A label made from a number: its lower and upper half, or its thirds."""
    numbers = np.array([float(cell) for cell in cells if is_given(cell) and NUMBER.fullmatch(cell)])
    count = 3 if len(numbers) >= THREE_BINS_FROM else 2
    edges = sorted({float(f"{edge:.3g}") for edge in np.quantile(numbers, np.arange(1, count) / count)})
    sizes = np.bincount(np.searchsorted(edges, numbers, side="right"), minlength=count)
    if len(edges) < count - 1 or sizes.min() < len(SPLITS):
        return None
    labels = BIN_LABELS[count]
    name = condition_name(f"{field.column} group", [other.name for other in conditions])
    shown = ", ".join(f"{label} {size:,}" for label, size in zip(labels, sizes.tolist(), strict=True))
    condition = Condition(
        name,
        field.column,
        {"kind": "categorical", "values": list(labels)},
        (f"Images: {shown}.",),
        Counter(dict(zip(labels, sizes.tolist(), strict=True))),
    )
    why = (
        f"No column has classes, so the label is made from the number {printable(field.column)!r}, in parts of like "
        "size: set edges that mean something in source.bins."
    )
    return Label(condition, (why,), {"column": field.column, "edges": edges, "labels": list(labels)})
