"""The contract of a model family, and the table of families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from medsynth import config
from medsynth.conditions.schema import Condition, ConditionSchema


@dataclass(frozen=True)
class ImageSpec:
    """What a model must know of the images that it makes.

    Attributes:
        channels: image channels.
        size: spatial shape, (height, width) or (depth, height, width).
        conditions: the fields that images are asked for by.
    """

    channels: int
    size: tuple[int, ...]
    conditions: ConditionSchema

    @property
    def spatial_dims(self) -> int:
        return len(self.size)


class GenerativeModel(nn.Module, ABC):
    """What training and sampling ask of a family; they know nothing else about it.

    Attributes:
        players: paths of the submodules that are optimised in turn, each by its own loss.
        judged: those of them whose held-out losses, added up, decide which weights are the best.
        spec: what it knows of the images that it makes.
        keeps_guide: whether its early state is kept with its weights.
        guide: that state, once loaded: the weaker model that autoguidance moves away from.
    """

    players: tuple[str, ...]
    judged: tuple[str, ...]
    spec: ImageSpec
    keeps_guide: bool

    def __init__(self) -> None:
        super().__init__()
        self.guide: Self | None = None

    @abstractmethod
    def begin(self, blocks: Iterable[Tensor], teacher: GenerativeModel | None) -> None:
        """Take, once, before the first step, what does not change while it learns.

        Args:
            blocks: training images for fixed statistics, some at a time, each block (N, C, *spatial) in [-1, 1].
            teacher: the trained model to learn from, for a family that has one.
        Raises:
            InputError: a teacher where the family has none, or none where it has one.
        """

    @abstractmethod
    def loss(self, image: Tensor, condition: Condition, augmentation: Tensor, player: str) -> dict[str, Tensor]:
        """Named loss terms, summed by the loop.

        Args:
            image: (N, C, *spatial) in [-1, 1].
            condition: N conditions.
            augmentation: (N, A) what was done to each image, zero for nothing.
            player: the submodule whose turn it is.
        Returns:
            Each term a vector (N,).
        """

    @abstractmethod
    def sample(self, condition: Condition, seeds: Sequence[int], settings: Any) -> Tensor:
        """Images (N, C, *spatial) in [-1, 1], one for each condition, its noise drawn from its own seed.

        Args:
            settings: the family's sampler section of the configuration.
        """


def build(settings: config.Trained, spec: ImageSpec) -> GenerativeModel:
    """An untrained model of the family that the settings name."""
    from medsynth.models.families.consistency import ConsistencyModel
    from medsynth.models.families.diffusion import DiffusionModel

    families: dict[str, Callable[[Any, ImageSpec], GenerativeModel]] = {
        "diffusion": DiffusionModel,
        "consistency": ConsistencyModel,
    }
    return families[settings.family](settings, spec)
