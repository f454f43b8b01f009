"""Teaching material: strips along one condition, and graded cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from medsynth.config.along import parse_along
from medsynth.config.section import Count, Name, Strict, refuse_unknown


def refuse_bad_strips(along: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse strips that cannot be read, move an unknown column, or move one twice.

    Raises:
        ValueError: names the strip.
    """
    moved = [parse_along(text)[0] for text in along]
    refuse_unknown("column in along", (column[:120] for column in moved), columns)
    if len(set(moved)) < len(moved):
        raise ValueError(f"along {list(along)} moves a column twice")


class Education(Strict):
    """Graded cases and strips for teaching, made by the target `education`."""

    cases: Count = 5
    """Cases of each class, and of each level of `graded` within it."""
    graded: Name | None = None
    """Condition whose levels have cases of their own: the grades of an ordinal condition, thirds of the range of a
    number; null counts by class alone."""
    along: tuple[str, ...] = ()
    """Strips of each subject: one condition moves while noise and all others stay, as `severity=0:1:9` (even steps),
    `sex=female,male`, or `pathology` (every value)."""
    subjects: Annotated[int, Field(ge=1, le=1000)] = 3
    """Synthetic subjects that strips are made of, numbered from 0."""
    held_outside: bool = True
    """Where a strip places or grades lesions, the least severe frame stays outside of their surroundings in all frames
    (discs of twice their diameters). Not for families that cannot, as stylegan: the log says so.
    """


class VarySettings(Strict):
    """Strips along conditions, each of one synthetic subject.

    Attributes:
        subjects: numbers that decide the noise of each subject and its row of the plan.
        along: what moves, one strip each, as `parse_along` reads it.
        held: column → cell that all frames have.
        held_outside: whether strips that move lesions are one image outside of their surroundings.
    """

    subjects: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**48)], ...], Field(min_length=1)]
    along: Annotated[tuple[str, ...], Field(min_length=1)]
    held: dict[str, str] = {}
    held_outside: bool = True

    @model_validator(mode="after")
    def _no_two_alike(self) -> Self:
        if len(set(self.subjects)) < len(self.subjects):
            raise ValueError(f"subjects {list(self.subjects)} names one twice")
        both = sorted({parse_along(text)[0] for text in self.along} & set(self.held))
        if both:
            raise ValueError(f"{both[0]!r} is both moved and held")
        return self


class EducateSettings(Strict):
    """What the step `educate` is given; `seed` decides which cases are taken, and their order."""

    seed: int
    education: Education
