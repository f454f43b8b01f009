"""Grading scales that tables of medical images use, known by a column's name and its cells."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from medsynth.init.document import printable


@dataclass(frozen=True)
class Scale:
    """A scale in rising order.

    Attributes:
        what: it grades, and by whom it was set.
        called: words of a column's name, one of which says that the scale is meant.
        spellings: the grades from the lowest to the highest, in lower case, in each way that they are written.
    """

    what: str
    called: frozenset[str]
    spellings: tuple[tuple[str, ...], ...]


ROMAN = ("i", "ii", "iii", "iv")
SEVERITIES = ("none", "mild", "moderate", "severe")
SCALES = (
    Scale(
        "diabetic retinopathy from none to proliferative (Wilkinson et al. 2003)",
        frozenset({"dr", "icdr", "retinopathy"}),
        (
            ("0", "1", "2", "3", "4"),
            ("no dr", "mild", "moderate", "severe", "proliferative dr"),
            ("none", "mild", "moderate", "severe", "proliferative"),
            ("normal", "mild", "moderate", "severe", "proliferative"),
        ),
    ),
    Scale(
        "suspicion in a breast image, from negative to known malignancy (ACR BI-RADS 2013); 0, incomplete, is no grade",
        frozenset({"birads"}),
        (("1", "2", "3", "4", "5", "6"), ("1", "2", "3", "4a", "4b", "4c", "5", "6")),
    ),
    Scale(
        "density of a breast, from fatty to extremely dense (ACR BI-RADS 2013)",
        frozenset({"density", "acr", "composition"}),
        (("a", "b", "c", "d"), ("1", "2", "3", "4"), ROMAN),
    ),
    Scale(
        "osteoarthritis (Kellgren and Lawrence 1957)",
        frozenset({"kl", "klg", "kellgren"}),
        (("0", "1", "2", "3", "4"),),
    ),
    Scale(
        "severity, in words or Roman numbers",
        frozenset({"grade", "stage", "severity"}),
        (SEVERITIES, ("normal", *SEVERITIES[1:]), ("absent", *SEVERITIES[1:]), SEVERITIES[1:], ROMAN),
    ),
)
PREFIX = re.compile(r"((bi-?rads|acr|category|grade|stage|density|type|kl)[\s:_-]*)?", re.IGNORECASE)


def known_grades(called: Sequence[str], cells: Collection[str]) -> tuple[list[str], str] | None:
    """The grades that a column's cells are of, in rising order and as the cells write them, and what they grade.

    Where the cells are written as the scale is, grades that none of them has are among them: they are steps of it too.

    Args:
        called: words of the column's name, in lower case and in their order.
        cells: its different values.
    """
    names = {*called, *(first + second for first, second in pairwise(called))}  # BI-RADS is two words
    plain = {cell: PREFIX.sub("", cell, count=1).strip().lower() for cell in cells}
    for scale in SCALES:
        if not scale.called & names:
            continue
        for order in scale.spellings:
            if set(plain.values()) <= set(order) and len(set(plain.values())) == len(cells):
                of = {short: cell for cell, short in plain.items()}
                written = all(cell == short for short, cell in of.items())
                values = list(order) if written else [of[short] for short in order if short in of]
                return values, f"Grades of {scale.what}: {', '.join(printable(value, 20) for value in values)}."
    return None
