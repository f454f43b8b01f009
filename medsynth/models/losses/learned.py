"""Losses that look through a network of their own, trained on the training split before the first step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from medsynth.models.contract import Batch
from medsynth.models.networks.blocks import AVERAGE_POOL

LEARNING_RATE = 5e-3
NOISE = 0.1  # of [-1, 1], at most
WINDOW = 5  # pixels that a blur averages over


class LearnedLoss(nn.Module, ABC):
    """(image, batch) → (N,), by a network that `begin` trains and that does not change afterwards.

    It is built with (settings, spec) and has no weights before `begin`: what only samples does not need them.
    """

    @abstractmethod
    def begin(self, batches: Iterator[Batch], images: int, shapes: Sequence[Sequence[int]]) -> None:
        """Train the network, on the device of the batches; called once.

        Args:
            batches: of the training split, without end, augmented as in training; each seeds torch anew.
            images: the budget of the training that the loss is for.
            shapes: spatial shapes of the images that it will compare, each a whole fraction of the training images'.
        """

    @abstractmethod
    def forward(self, image: Tensor, batch: Batch) -> Tensor:
        """(N,) how far images (N, C, *spatial) in [-1, 1] are from what the batch asks for."""


def steps_of(budget: int, images: Tensor, most_pixels: int) -> int:
    """How many batches of such images a loss's network learns from: the training's budget, at most so many pixels."""
    most = most_pixels // math.prod(images.shape[2:])
    return max(1, round(min(budget, most) / len(images)))


def fit(network: nn.Module, batches: Iterable[Batch], steps: int, error: Callable[[Batch], Tensor]) -> None:
    """Train a network by Adam, at a rate that falls in a line.

    Args:
        batches: `steps` of them.
        error: the mean error of a batch.
    """
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 1 / steps, steps)
    with torch.enable_grad():
        for batch in batches:
            optimiser.zero_grad(set_to_none=True)
            error(batch).backward()
            optimiser.step()
            schedule.step()
    network.zero_grad(set_to_none=True)


def shrunk(batch: Batch, shape: Sequence[int]) -> Tensor:
    """The images of a batch, averaged down to a spatial shape that divides theirs."""
    assert batch.image is not None
    factors = [extent // target for extent, target in zip(batch.image.shape[2:], shape, strict=True)]
    return AVERAGE_POOL[len(shape)](batch.image, factors)


def degraded(image: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, *spatial) blurred and noisy, as denoised ones are, and how much of each: (N, 2) in [0, 1]."""
    amounts = torch.rand(len(image), 2, device=image.device)
    blur, noise = (part.view(-1, *[1] * (image.ndim - 1)) for part in amounts.unbind(1))
    pool = AVERAGE_POOL[image.ndim - 2]
    window = min(WINDOW, (min(image.shape[2:]) - 1) // 2 * 2 + 1)  # an odd number of pixels
    mean = pool(image, window, stride=1, padding=window // 2, count_include_pad=False)
    return torch.lerp(image, mean, blur) + NOISE * noise * torch.randn_like(image), amounts
