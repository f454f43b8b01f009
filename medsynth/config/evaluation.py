"""How images are judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medsynth.config.section import Count, Strict


class Evaluation(Strict):
    """How the synthetic images are judged and which of them are kept."""

    bootstrap: Annotated[int, Field(ge=20)] = 200
    neighbours: Count = 5
    max_similarity_quantile: Annotated[float, Field(gt=0, le=1)] = 0.99
    reject_misread: bool = True
    predictor_epochs: Count = 30
