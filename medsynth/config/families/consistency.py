"""The settings of a consistency model, and how it is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.families.diffusion import Diffusion
from medsynth.config.family import Family, Role, Sampler
from medsynth.config.section import Count, Positive
from medsynth.config.training import Training


class Distillation(Training):
    """The budget and the optimiser of a student; `guide_at` is not used."""

    images: Count = 12_000
    effective_batch_size: Count = 16
    learning_rate: Positive = 5e-4
    validate_every: Count = 6_000


class ConsistencySampler(Sampler):
    """A stage draws at once from pure noise, then again from each of its noise levels in `redraw`, which fall.

    `redraw` has one entry for each stage, from coarse to fine; the last entry serves all stages after it.
    """

    family: Literal["consistency"] = "consistency"
    redraw: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1)] = ((3.0, 1.0, 0.3), (1.0,), ())

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        for levels in self.redraw:
            if any(high <= low for high, low in pairwise(levels)):
                raise ValueError(f"redraw {list(levels)} does not fall")
        return self


class Consistency(Family):
    """A student of the diffusion model that `parents.teacher` names, which draws each stage in a few evaluations.

    It learns where the teacher's sampler leads when it goes in `steps` (Song et al. 2023), one entry for each stage; a
    stage of one step has nothing to learn and keeps the teacher's weights. A change of its own sampler retrains
    nothing.
    """

    roles: ClassVar = {"teacher": Role(families=("diffusion",), required=True, sampled=True)}

    family: Literal["consistency"]
    steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (12, 8, 1)
    training: Distillation = Distillation()
    sampler: ConsistencySampler = ConsistencySampler()

    def cost(self, size: Sequence[int]) -> float:
        return 3.0 * math.prod(size)  # the teacher and its guide draw at every step

    def check_parents(self, parents: Mapping[str, Family]) -> None:
        teacher = parents["teacher"]
        assert isinstance(teacher, Diffusion)
        if set(self.steps[: len(teacher.stages)]) == {1}:
            raise ValueError(f"steps {list(self.steps)} leave nothing to learn, expected more than 1 for a stage")
        for stage, levels in enumerate(self.sampler.redraw):
            highest = teacher.sampler.sigma_max[min(stage, len(teacher.sampler.sigma_max) - 1)]
            if levels and levels[0] >= highest:
                raise ValueError(f"sampler.redraw {list(levels)} is not below the teacher's sigma_max {highest:g}")
