"""The settings of a consistency model, and how it is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.families.diffusion import Diffusion
from medsynth.config.family import Family, Role, Sampler
from medsynth.config.section import Count, Positive
from medsynth.config.training import Training


class Distillation(Training):
    """The budget and the optimiser of a student; `guide_at` is not used."""

    images: Count = 12_000
    """Budget in images seen; each costs about twice what it costs the teacher."""
    effective_batch_size: Count = 16
    """Images for each optimiser step."""
    learning_rate: Positive = 5e-4
    """Highest learning rate; a higher one destroys what the teacher knows."""
    validate_every: Count = 6_000
    """Images between two validations."""


class ConsistencySampler(Sampler):
    """How a student draws: each stage at once from pure noise, then again from lower noise levels."""

    family: Literal["consistency"] = "consistency"
    redraw: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1)] = ((3.0, 1.0, 0.3), (1.0,), ())
    """Noise levels of each stage, which fall, from which it draws again after its first draw from pure noise: more
    take longer and look better. The last entry serves all later stages.
    """

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        for levels in self.redraw:
            if any(high <= low for high, low in pairwise(levels)):
                raise ValueError(f"redraw {list(levels)} does not fall")
        return self


class Consistency(Family):
    """A student of a diffusion model that draws each stage in a few evaluations.

    It learns by consistency distillation (Song et al. 2023). `parents` names the `teacher`, which is trained even where
    no dataset lists it. The student begins with the teacher's weights and takes over the guidance and noise levels that
    `tune` chose for the teacher: another choice trains the student again. Its own sampler trains nothing.
    """

    roles: ClassVar = {"teacher": Role(families=("diffusion",), required=True, sampled=True)}

    family: Literal["consistency"]
    steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (12, 8, 1)
    """Steps of the teacher's paths, for each stage. A stage of one step has nothing to learn and keeps the
    teacher's weights.
    """
    training: Distillation = Distillation()
    """Budget and optimiser."""
    sampler: ConsistencySampler = ConsistencySampler()
    """How images are drawn."""

    def cost(self, size: Sequence[int]) -> float:
        return 3.0 * math.prod(size)  # the teacher and its guide draw at every step

    def candidates(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        return {
            "redraw": (
                ((), (), ()),
                ((1.0,), (), ()),
                ((1.0, 0.3), (0.5,), ()),
                ((3.0, 1.0, 0.3), (2.0, 0.5), ()),
                ((8.0, 3.0, 1.0, 0.3), (1.0,), ()),
                ((3.0, 1.0, 0.3), (1.0,), (0.3,)),
            )
        }

    def check_parents(self, parents: Mapping[str, Family], size: Sequence[int] | None = None) -> None:
        teacher = parents["teacher"]
        assert isinstance(teacher, Diffusion)
        stages = None if teacher.stages == "auto" else len(teacher.stages)
        if set(self.steps[:stages]) == {1}:
            raise ValueError(f"steps {list(self.steps)} leave nothing to learn, expected more than 1 for a stage")
        for stage, levels in enumerate(self.sampler.redraw):
            highest = teacher.sampler.sigma_max[min(stage, len(teacher.sampler.sigma_max) - 1)]
            if levels and levels[0] >= highest:
                raise ValueError(f"sampler.redraw {list(levels)} is not below the teacher's sigma_max {highest:g}")
