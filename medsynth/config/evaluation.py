"""How images are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator

from medsynth import registry
from medsynth.config.conditions import FieldSettings
from medsynth.config.section import Count, Name, Strict, one_of, refuse_unknown

MISREAD_LEVEL = 0.05
FEWEST_SUBJECTS = 20  # held-out ones without which nothing is concluded from them
FEWEST_OF_A_CLASS = round(1 / MISREAD_LEVEL) - 1  # validation images of it without which no p-value is that low


class Evaluation(Strict):
    """How the synthetic images are judged and which of them are kept."""

    bootstrap: Annotated[int, Field(ge=20)] = 200
    """Resamplings behind each confidence interval; those of FID, density and coverage come from a jackknife."""
    neighbours: Count = 5
    """k of density and coverage."""
    max_similarity_quantile: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Reject a sample that is nearer to a training image than this share of real strangers. Below 1, the limit is
    lowered where planted copies would pass it, as long as at most 5 % of the validation images are above it.
    """
    reject_misread: bool = True
    """Reject a sample that the reader reads as another class if its conformal p-value for the requested class is
    0.05 or less.
    """
    subgroups: dict[Name, tuple[float, ...]] = {"sex": (), "age_years": (20, 40, 60, 80)}
    """Conditions that tell groups of people apart: categories by their values (`[]`), a number by bands between these
    edges, rising. Those that a dataset lacks do not count.
    """
    metrics: Annotated[tuple[Annotated[str, one_of(registry.METRICS)], ...], Field(min_length=1)] = tuple(
        registry.METRICS
    )
    """What is measured; `adherence` compares requested and read values for every condition."""

    @field_validator("metrics")
    @classmethod
    def _exist(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        refuse_unknown("metric", metrics, registry.METRICS)
        return metrics


def refuse_bad_subgroups(evaluation: Evaluation, conditions: Mapping[str, FieldSettings]) -> None:
    """Refuse edges that do not fit a dataset's conditions.

    Raises:
        ValueError: names the condition.
    """
    for name, edges in evaluation.subgroups.items():
        if list(edges) != sorted(set(edges)):
            raise ValueError(f"evaluation.subgroups.{name}: edges {list(edges)} do not rise")
        if name in conditions and (reason := conditions[name]._no_subgroups(edges)):
            raise ValueError(f"evaluation.subgroups.{name}: {reason}")
