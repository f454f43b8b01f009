"""The terms that a model's `losses` name: what each gives for a batch, below its noise level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from medsynth import registry
from medsynth.config.losses import Loss
from medsynth.models.contract import Batch, ImageSpec
from medsynth.models.losses.learned import LearnedLoss


class Terms(nn.Module):
    """Losses between the image that a network gives and the one it learns from, by their names in the registry.

    An entry of the registry is a function (image, batch) → (N,), or a `LearnedLoss`, whose network is trained by
    `begin` and is part of the model's state from then on.
    """

    def __init__(self, settings: Mapping[str, Loss], spec: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        self.functions: dict[str, Callable[[Tensor, Batch], Tensor]] = {}
        for name, chosen in settings.items():
            entry = registry.LOSSES[name].load()
            if isinstance(entry, type) and issubclass(entry, LearnedLoss):
                self.add_module(name, entry(chosen, spec))
            else:
                self.functions[name] = entry

    def __bool__(self) -> bool:
        return bool(self.settings)

    def begin(self, batches: Iterator[Batch], images: int, shapes: Sequence[Sequence[int]]) -> None:
        """Train the networks of those that have one; see `LearnedLoss.begin`."""
        for loss in self.children():
            assert isinstance(loss, LearnedLoss)
            loss.begin(batches, images, shapes)
            loss.eval().requires_grad_(False)

    def forward(self, image: Tensor, batch: Batch, noise_level: Tensor) -> dict[str, Tensor]:
        """Each term (N,), zero where the noise level (N,) is not below its own.

        Args:
            image: (N, C, *spatial) in [-1, 1]; its pair is `batch.image`.
        """
        losses = self.functions | dict(self.named_children())
        below = {name: self.settings[name].below or math.inf for name in self.settings}
        return {name: losses[name](image, batch) * (noise_level < below[name]) for name in self.settings}
