"""How images are judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from medsynth import registry
from medsynth.config.section import Count, Strict, refuse_unknown


class Evaluation(Strict):
    """How the synthetic images are judged and which of them are kept."""

    bootstrap: Annotated[int, Field(ge=20)] = 200
    neighbours: Count = 5
    max_similarity_quantile: Annotated[float, Field(gt=0, le=1)] = 0.99
    reject_misread: bool = True
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(registry.METRICS)

    @field_validator("metrics")
    @classmethod
    def _exist(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        refuse_unknown("metric", metrics, registry.METRICS)
        return metrics
