"""The contract of a model family: what training and sampling ask of it, and all that they know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from medsynth import registry
from medsynth.conditions.kind import Condition
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.family import Family

AUGMENTATION_FEATURES = {2: 6, 3: 10}  # mirrored axes, scale, angles and shifts
Place = tuple[slice, ...]  # a part of (N, C, *spatial); () is all of it
ALL = (slice(None), slice(None))  # images and channels of a place


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


@dataclass(frozen=True)
class Batch:
    """N images and what is known of them, for training; or what N images are asked for, for sampling.

    Attributes:
        condition: N conditions, and the label maps where one of them is a mask.
        image: (N, C, *spatial) in [-1, 1]; None where images are asked for from nothing.
        augmentation: (N, A) what was done to each image, zero for nothing.
        progress: the share of the training budget that is used up.
        region: (N, *spatial) in [0, 1], for sampling: 1 where the image is drawn anew, 0 where it is held, between
            them a mixture; None where nothing is held. Only a family that `holds` may be given one.
    """

    condition: Condition
    image: Tensor | None = None
    augmentation: Tensor | None = None
    progress: float = 0.0
    region: Tensor | None = None

    def __post_init__(self) -> None:
        if self.region is None:
            return
        image = None if self.image is None else tuple(self.image.shape)
        if image is None or (image[0], *image[2:]) != tuple(self.region.shape):
            raise ValueError(f"region is {tuple(self.region.shape)}, the image that it holds is {image}")

    def __len__(self) -> int:
        return len(self.condition)

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        image, augmentation, region = (None if part is None else part[rows] for part in self._tensors)
        return Batch(self.condition[rows], image, augmentation, self.progress, region)

    def to(self, device: torch.device | str) -> Batch:
        image, augmentation, region = (None if part is None else part.to(device) for part in self._tensors)
        return Batch(self.condition.to(device), image, augmentation, self.progress, region)

    @property
    def _tensors(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.image, self.augmentation, self.region

    @property
    def mask(self) -> Tensor | None:
        """(N, *spatial) uint8 label maps; None where no condition asks for them."""
        return self.condition.mask


@dataclass(frozen=True)
class Phase:
    """A part of each training step: submodules that one optimiser moves by one loss.

    Attributes:
        modules: paths of the submodules.
        learning_rate: share of the rate that the settings give.
        betas: of AdamW.
        every: steps from one to the next.
        start: share of the budget from which it runs.
    """

    name: str
    modules: tuple[str, ...]
    learning_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)
    every: int = 1
    start: float = 0.0

    def runs(self, step: int, progress: float) -> bool:
        """Whether a step has this phase."""
        return step % self.every == 0 and progress >= self.start


class GenerativeModel(nn.Module, ABC):
    """What training and sampling ask of a family; they know nothing else about it.

    Attributes:
        phases: what each training step optimises, in turn.
        averaged: paths of the submodules that sampling, or a model that begins from this one, needs: they have an EMA,
            and are what is saved.
        term_weights: how much a term of the loss counts; 1 where it is not named.
        keeps_guide: whether its early state is kept with its weights.
        reconstructs: whether it has `reconstruct`.
        scores_its_loss: whether `score` is its loss on held-out images, so that the two tell of overfitting.
        holds: whether `sample` can draw a region of an image anew and hold the rest of it.
        guide: that state, once loaded: the weaker model that autoguidance moves away from.
        spec: what it knows of the images that it makes.
    """

    phases: tuple[Phase, ...]
    averaged: tuple[str, ...]
    keeps_guide: bool = False
    reconstructs: bool = False
    scores_its_loss: bool = True
    holds: bool = False

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.term_weights: Mapping[str, float] = {}
        self.guide: Self | None = None

    @abstractmethod
    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        """Take, once, before the first step, what does not change while it learns, and what its parents give it.

        Args:
            blocks: training images for fixed statistics, some at a time, each block (N, C, *spatial) in [-1, 1].
            parents: role → trained model.
        Raises:
            InputError: a parent that it cannot use.
        """

    def train_losses(self, batches: Iterator[Batch], images: int) -> None:
        """Train, once, before the first step, the networks that its loss compares images by; most families have none.

        They are part of its state, so that a training goes on with the same, and not of what is saved for sampling.

        Args:
            batches: of the training split, without end, augmented as in training; each seeds torch anew.
            images: the budget of the training.
        """

    @abstractmethod
    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Named loss terms of one phase, each a vector (N,); the trainer adds them up by `term_weights`."""

    def heed(self, means: Mapping[str, Tensor], spent: float) -> None:
        """Follow what a training step found; what is kept of it must be in buffers, so that a checkpoint has it.

        Args:
            means: loss term → its mean over all images of the step, in all processes.
            spent: the share of the budget that the step took.
        """

    @abstractmethod
    def score(self, batch: Batch) -> Tensor | None:
        """How far held-out images (N,) are from what it makes of them, lower is better.

        None where a family knows no such number: the last average is then kept, and training does not end early.
        """

    @abstractmethod
    def sample(self, batch: Batch, seeds: Sequence[int], settings: Any) -> Tensor:
        """Images (N, C, *spatial) in [-1, 1], one for each condition of the batch, its noise drawn from its own seed.

        Where the batch has a `region`, which it has only for a family that `holds`, each is the batch's image outside
        of it, to the bit where the region is 0, and the same as without one where the region is 1 everywhere.

        Args:
            settings: the family's sampler section of the configuration.
        """

    def reconstruct(self, batch: Batch) -> Tensor:
        """What it makes of images once they went through its latent: (N, C, *spatial) in [-1, 1], without noise.

        Only families whose `reconstructs` is true have it.
        """
        raise NotImplementedError(f"{type(self).__name__} reconstructs no images")

    def membership_scores(self, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
        """What may tell images that it learnt from others: name → (N,), higher for those that it learnt from.

        A score of an image depends on no other image of the batch. A family has none by default.

        Args:
            seeds: of the draws of noise that a score is the mean of; each draw is the same for all images.
        """
        return {}

    def canary_loss(self, batch: Batch) -> Tensor | None:
        """What a copy of the trained model learns images by (N,), lower where it knows them better.

        It needs no more than the weights that are saved. None where a family has none, by default.
        """
        return None

    def networks(self) -> list[nn.Module]:
        """The submodules that whole batches go through in `score`: each treats its images one by one.

        Where memory is short, each is called on parts of a batch: every tensor among its arguments, and its one
        result, have the images along their first axis.
        """
        return [self.get_submodule(path) for path in dict.fromkeys(path for p in self.phases for path in p.modules)]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def sampled_state(self) -> dict[str, Tensor]:
        """The tensors of the averaged submodules, by their name in the model."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if any(f"{name}.".startswith(f"{path}.") for path in self.averaged)
        }


def build(settings: Family, spec: ImageSpec, parents: Mapping[str, Family] | None = None) -> GenerativeModel:
    """An untrained model of the family that the settings name.

    Args:
        parents: role → the settings of the model that has it.
    """
    return registry.FAMILIES[settings.family].load()(settings, spec, parents or {})
