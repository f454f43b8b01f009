"""What the settings of every model family answer, so that no part of the workflow asks which family it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from medsynth import registry
from medsynth.config.section import Count, Positive, Strict
from medsynth.config.training import Training

ParentName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*/)?[a-z][a-z0-9_]*$")]


@dataclass(frozen=True)
class Role:
    """What a trained model may be to another one that begins from it or learns from it.

    Attributes:
        families: those that can fill it.
        required: there is no training without it.
        elsewhere: it may have learnt from another dataset.
        sampled: how it is sampled decides what is learnt from it.
    """

    families: tuple[str, ...]
    required: bool = False
    elsewhere: bool = False
    sampled: bool = False


class Sampler(Strict):
    """What sampling is told, whatever the family: images at once, and the number format of its networks."""

    family: str
    batch_size: Count = 64
    """Images drawn at once; the images do not depend on it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the networks; bfloat16 is faster where the processor has it, and varies more between
    machines.
    """


class Loss(Strict):
    """A term beside the model's own loss."""

    weight: Positive
    """Its weight; the model's own loss has weight 1."""
    below: Positive | None = None
    """Noise level below which it acts, null for all. At high noise the denoised image is a mean, and blurred."""


class Family(Strict):
    """A model: its family, its network, the models it begins from, how it is trained, and how it is sampled.

    Attributes:
        roles: what other models may be to it.
        honours: the condition kinds that its images follow.
    """

    roles: ClassVar[Mapping[str, Role]] = {}
    honours: ClassVar[frozenset[str]] = frozenset(registry.CONDITIONS)

    family: str
    parents: dict[str, ParentName] = {}
    """Role → model that this one begins from or learns from."""
    training: Training = Training()
    """Budget and optimiser."""
    sampler: Sampler
    """How images are drawn."""

    def misfit(self, size: Sequence[int]) -> str | None:
        """Why it cannot make images of this spatial size, None where it can."""
        return None

    def cost(self, size: Sequence[int]) -> float:
        """Pixels that go through a network for each image of its training."""
        return float(math.prod(size))

    def check_parents(self, parents: Mapping[str, Family]) -> None:
        """Look for what cannot be learnt from these parents.

        Raises:
            ValueError: what does not fit.
        """

    def entries(self) -> tuple[registry.Entry, ...]:
        """What of the registry it is made of."""
        return (registry.FAMILIES[self.family],)

    def trained_by(self) -> dict[str, Any]:
        """Its settings without those that a trained model can be sampled by."""
        return self.model_dump(mode="json", exclude={"sampler"})
