"""A family in one file: an image for each condition, and a critic that sampling does not need."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from medsynth.config.family import Family, Sampler
from medsynth.models.contract import Batch, GenerativeModel, ImageSpec, Phase


class PrototypeSampler(Sampler):
    family: Literal["prototype"] = "prototype"
    noise: float = 0.01


class Prototype(Family):
    honours = frozenset({"categorical"})

    family: Literal["prototype"]
    sampler: PrototypeSampler = PrototypeSampler()


class Draw(nn.Module):
    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.shape = (spec.channels, *spec.size)
        self.layer = nn.Linear(1, int(np.prod(self.shape)))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Tensor:
        return self.layer(2 * batch.condition.values - 1).unflatten(1, self.shape)


class PrototypeModel(GenerativeModel):
    averaged = ("drawn",)
    phases = (
        Phase("critic", ("critic",), learning_rate=0.5, every=2),
        Phase("drawn", ("drawn",), start=0.5),
    )

    def __init__(self, settings: Prototype, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(spec)
        self.drawn = Draw(spec)
        self.critic = nn.Linear(1, 1)

    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        pass

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        brightness = batch.image.flatten(1).mean(1, keepdim=True)
        if phase == "critic":
            return {"critic": (self.critic(brightness) - 1).square()[:, 0]}
        image = self.drawn(batch)
        self.drawn.seen += len(batch)
        fooled = self.critic(image.flatten(1).mean(1, keepdim=True))[:, 0]
        return {"error": (image - batch.image).square().flatten(1).mean(1), "fooled": 1e-3 * (fooled - 1).square()}

    def score(self, batch: Batch) -> None:
        return None

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: PrototypeSampler) -> Tensor:
        noise = np.stack([np.random.default_rng(seed).standard_normal(self.drawn.shape, np.float32) for seed in seeds])
        return (self.drawn(batch) + settings.noise * torch.from_numpy(noise)).clamp(-1, 1)
