"""Which columns say whose image it is, which split it is in, and what is outlined in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medsynth.config import SPLITS
from medsynth.config.datasets import OPTIONAL_COLUMNS
from medsynth.init.columns import LeftOut, words
from medsynth.init.document import printable
from medsynth.init.images import Survey, is_mask, structures

SUBJECT = re.compile(
    r"(subject|subj|patient|pat|participant|person|proband|case|pid|eid)(id|uid|no|nr|number|key|code|identifier)?"
    r"|id(subject|patient)"
)
GIVEN_SHARE = 0.95  # of the rows that a subject or a mask is needed in


@dataclass(frozen=True)
class Roles:
    """The columns that have a role of their own.

    Attributes:
        columns: `source.columns`, for what the table names otherwise or what is left out.
        structures: number of structures of usable masks, else 0.
        notes: what to say of each role: `image`, `subject_id`, `mask`, `split`.
    """

    image: str
    subject: str
    columns: dict[str, str | None]
    structures: int
    split: bool
    notes: dict[str, str]
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def taken(self) -> set[str]:
        """Columns that no condition is made of."""
        used = {self.image, *(name for name in self.columns.values() if name is not None)}
        used |= {self.subject, *(left.column for left in self.left_out)}
        return used | {name for name in OPTIONAL_COLUMNS if name in self.notes and name not in self.columns}


def find(folder: Path, cells: Mapping[str, Sequence[str]], survey: Survey) -> Roles:
    """Give each role its column."""
    columns: dict[str, str | None] = {}
    notes = {"image": f"Images are named by the column {printable(survey.column)!r}."}
    left_out = []
    if survey.column != "image":
        columns["image"] = survey.column

    subject = _subject(cells, survey.column)
    if subject is None:
        subject = columns["subject_id"] = survey.column
        notes["subject_id"] = (
            "No column names the patients, so each image counts as a patient of its own. If patients have several "
            "images, add a column that names them and set subject_id to it: their images must not be in two splits."
        )
    else:
        if subject != "subject_id":
            columns["subject_id"] = subject
        count = len(set(cells[subject]) - {""})
        notes["subject_id"] = f"Patients are named by the column {printable(subject)!r}: {count:,} of them."

    count = 0
    masks = [column for column in survey.paths if is_mask(column)]
    for column in masks[:1]:
        reason = _unusable_mask(cells[column])
        if not reason:
            count, reason = structures(folder, cells[column])
        if reason:
            count = 0
            left_out.append(LeftOut(column, f"masks are not used: {reason}"))
        else:
            notes["mask"] = (
                f"Label maps of {count} structures. A sample is asked for by the mask of a training image; "
                "release_masks would hand these masks over."
            )
            if column != "mask":
                columns["mask"] = column
    left_out += [LeftOut(column, "names other files") for column in survey.paths if column not in masks[:1]]
    if "mask" in cells and "mask" not in notes:
        columns["mask"] = None

    split = False
    if "split" in cells:
        found = Counter(cells["split"])
        split = set(found) == set(SPLITS)
        if split:
            shown = ", ".join(f"{name} {found[name]:,}" for name in SPLITS)
            notes["split"] = f"The table's column 'split' says which images are for what: {shown}."
        else:
            columns["split"] = None
            shown = ", ".join(repr(printable(value, 20)) for value in list(found)[:5])
            left_out.append(LeftOut("split", f"is not used: values {shown}, expected all of {', '.join(SPLITS)}"))
    return Roles(survey.column, subject, columns, count, split, notes, left_out)


def _subject(cells: Mapping[str, Sequence[str]], image: str) -> str | None:
    named = [column for column in cells if column != image and SUBJECT.fullmatch("".join(words(column)))]
    for column in sorted(named, key=lambda column: column != "subject_id"):
        given = sum(bool(cell.strip()) for cell in cells[column])
        if given >= GIVEN_SHARE * len(cells[column]) and len(set(cells[column])) >= len(SPLITS):
            return column
    return None


def _unusable_mask(cells: Sequence[str]) -> str:
    empty = sum(not cell.strip() for cell in cells)
    return f"{empty:,} rows have none" if empty > (1 - GIVEN_SHARE) * len(cells) else ""
