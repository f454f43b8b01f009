"""What a benchmark asks of a contender, and what it gives to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from medsynth.artifacts.store import Store
from medsynth.errors import InputError
from medsynth.machine.devices import Precision


class NotInstalledError(InputError):
    """A peer whose package is not here."""


@dataclass(frozen=True)
class Task:
    """What every contender is given.

    Attributes:
        minutes: the training's budget, for a schedule that needs one.
        medsynth: keys of `Diffusion` that differ from its defaults.
        compile: run the networks through torch.compile.
        precision: that all train in; auto is the device's fastest.
    """

    store: Store
    device: torch.device
    seed: int
    minutes: float
    medsynth: dict[str, Any]
    compile: bool = False
    precision: Precision = "auto"


class Contender(ABC):
    """A model in training."""

    batch_size: int
    images_seen = 0

    @abstractmethod
    def step(self) -> None:
        """One turn of its training loop, with all that the loop does."""

    @abstractmethod
    def sample(self, count: int, seed: int) -> np.ndarray:
        """Images of the model as its users would sample it now: uint8 (count, H, W) or (count, H, W, 3)."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers are trained."""


def slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
