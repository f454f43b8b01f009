"""The interface of a family's settings, so that no part of the workflow branches on the family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from medsynth import registry
from medsynth.config.base_model import Base
from medsynth.config.section import Count, Strict
from medsynth.config.training import Training
from medsynth.config.tuning import Tuning

ParentName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*/)?[a-z][a-z0-9_]*$")]


@dataclass(frozen=True)
class Role:
    """A role that a trained model can have for another one, which starts from it or learns from it.

    Attributes:
        families: that can fill it.
        required: there is no training without it.
        elsewhere: the parent may have been trained on another dataset.
        sampled: the parent's sampler affects the training.
    """

    families: tuple[str, ...]
    required: bool = False
    elsewhere: bool = False
    sampled: bool = False


class Sampler(Strict):
    """Sampler settings that all families share."""

    family: str
    batch_size: Count = 64
    """Images drawn at once; the images do not depend on it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the networks; bfloat16 is faster where the processor has it, and varies more between
    machines.
    """

    @property
    def fields(self) -> tuple[str, ...]:
        """The conditions that it names."""
        return ()


class Family(Strict):
    """A model: its family, its network, the models it begins from, how it is trained, and how it is sampled.

    Attributes:
        roles: of its parents.
        honours: the condition kinds that its images follow.
    """

    roles: ClassVar[Mapping[str, Role]] = {}
    honours: ClassVar[frozenset[str]] = frozenset(registry.CONDITIONS)

    family: str
    parents: dict[str, ParentName] = {}
    """Role → model that this one begins from or learns from; `initial: none` is from scratch where there is a base."""
    training: Training = Training()
    """Budget and optimiser."""
    sampler: Sampler
    """How images are drawn. A key that is set here stays; `tune` chooses among the others."""
    tuning: Tuning = Tuning()
    """How many settings `tune` may try."""

    def misfit(self, size: Sequence[int]) -> str | None:
        """The reason why it cannot make images of this spatial size, None if it can."""
        return None

    def for_images(self, size: Sequence[int]) -> Self:
        """The same settings with what follows from the spatial size of the images written out."""
        return self

    def cost(self, size: Sequence[int]) -> float:
        """Pixels that go through a network for each image of its training."""
        return float(math.prod(size))

    def base(self, shape: Sequence[int]) -> Base | None:
        """The weights of the package that it begins with where no other are named, None where none fit.

        Args:
            shape: (C, *spatial) of its images.
        """
        return None

    def check_parents(self, parents: Mapping[str, Family], size: Sequence[int] | None = None) -> None:
        """Check that it can learn from these parents.

        Args:
            size: spatial size of the images; None where it is not known yet.
        Raises:
            ValueError: it cannot; says why.
        """

    def needs(self) -> Mapping[str, str]:
        """Key of its settings → the condition kind that a dataset must have for it."""
        return {}

    def candidates(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """Sampler settings worth trying on another collection: key → values, the most important key first.

        Args:
            fields: names of the conditions.
        """
        return {}

    def entries(self) -> tuple[registry.Entry, ...]:
        """Registry entries that it depends on."""
        return (registry.FAMILIES[self.family],)

    def trained_by(self) -> dict[str, Any]:
        """The settings that affect training: all but the sampler and its tuning."""
        return self.model_dump(mode="json", exclude={"sampler", "tuning"})
