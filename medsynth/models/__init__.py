"""The contract of a model family, and the table of families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from medsynth import config
from medsynth.conditions import Condition, ConditionSchema


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
        guide: the same model early in its training, once loaded: the weaker one that autoguidance moves away from.
    """

    players: tuple[str, ...]
    judged: tuple[str, ...]
    spec: ImageSpec

    def __init__(self) -> None:
        super().__init__()
        self.guide: Self | None = None

    def fit_statistics(self, blocks: Iterable[Tensor]) -> None:
        """Take fixed statistics from training images, once, before the first step.

        Args:
            blocks: the images, some at a time, each block (N, C, *spatial) in [-1, 1].
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
    def sample(self, condition: Condition, seeds: Sequence[int], settings: config.Sampler) -> Tensor:
        """Images (N, C, *spatial) in [-1, 1], one for each condition, its noise drawn from its own seed."""


def build(settings: config.Trained, spec: ImageSpec) -> GenerativeModel:
    """An untrained model of the family that the settings name."""
    from medsynth.models.diffusion import DiffusionModel

    families = {
        "diffusion": DiffusionModel,
    }
    return families[settings.family](settings, spec)
