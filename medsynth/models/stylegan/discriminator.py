"""The discriminator: how real an image looks beside what it was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medsynth.config.families.stylegan import Stylegan
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import AUGMENTATION_FEATURES, ImageSpec
from medsynth.models.networks.blocks import ConditionEmbedding
from medsynth.models.stylegan.generator import whole_and_part
from medsynth.models.stylegan.layers import EqualisedConv, EqualisedLinear, activate, averaged_down, normalised
from medsynth.models.wavelets import Codec

GROUP = 4  # images whose deviation is taken together (Karras et al. 2018)


class Halving(nn.Module):
    """A residual block from one resolution to the next coarser one."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualisedConv(spatial_dims, inputs, inputs, 3)
        self.second = EqualisedConv(spatial_dims, inputs, outputs, 3)
        self.skip = EqualisedConv(spatial_dims, inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, *spatial) → (N, outputs, *spatial / 2)."""
        hidden = activate(self.second(averaged_down(activate(self.first(x)), 1)))
        return (hidden + self.skip(averaged_down(x, 1))) / 2**0.5


class Discriminator(nn.Module):
    """Haar bands of an image, from the resolution that is reached down to the coarsest, and a score by projection.

    The condition acts by its inner product with the features of the image (Miyato & Koyama 2018); what is drawn of it
    lies beside the bands.
    """

    def __init__(self, settings: Stylegan, spec: ImageSpec) -> None:
        super().__init__()
        dims, channels = spec.spatial_dims, settings.channels
        self.haar = Codec("haar", 1, spec.channels, dims)
        inputs = self.haar.channels + spec.conditions.map_channels
        self.first = 0 if settings.progressive_growing else len(channels) - 1  # resolution that images come in at
        self.enter = nn.ModuleList(EqualisedConv(dims, inputs, own, 3) for own in channels[self.first :])
        self.halve = nn.ModuleList(Halving(dims, own, coarser) for coarser, own in pairwise(channels))
        width = channels[0]
        self.last = EqualisedConv(dims, width + 1, width, 3)
        self.features = EqualisedLinear(width * math.prod(e // 2 ** len(channels) for e in spec.size), width)
        self.score = EqualisedLinear(width, 1)
        self.condition = ConditionEmbedding(spec.conditions, width)
        self.augmentation = nn.Linear(AUGMENTATION_FEATURES[dims], width, bias=False)
        self.project = EqualisedLinear(width, width)

    def forward(self, sets: Sequence[Tensor], conditioning: Conditioning, reach: float) -> Tensor:
        """How real each image of some sets looks: (sets, N), higher for more real.

        Args:
            sets: (N, C, *spatial) each, at the resolution that is reached, as the planes of what they were asked for.
        """
        last, faded = whole_and_part(reach)
        top = last + (faded > 0)
        image, planes = torch.cat(list(sets)), torch.cat([conditioning.planes] * len(sets))
        x = self._entered(image, planes, top)
        for number in range(top, 0, -1):
            x = self.halve[number - 1](x)
            if number > last:
                coarser = self._entered(averaged_down(image, 1), averaged_down(planes, 1), last)
                x = torch.lerp(coarser.to(x.dtype), x, faded)
        deviations = torch.cat([deviation(part) for part in x.chunk(len(sets))])
        x = activate(self.last(torch.cat([x, deviations], 1)))
        hidden = activate(self.features(x.flatten(1))).unflatten(0, (len(sets), -1))
        known = self.condition(conditioning.condition) + self.augmentation(conditioning.augmentation)
        alike = (hidden * self.project(normalised(known))).sum(2) / hidden.shape[2] ** 0.5
        return (self.score(hidden)[:, :, 0] + alike).float()

    def _entered(self, image: Tensor, planes: Tensor, level: int) -> Tensor:
        return activate(
            self.enter[level - self.first](torch.cat([self.haar.encode(image), averaged_down(planes, 1)], 1))
        )


def deviation(x: Tensor) -> Tensor:
    """How much the images of a group differ: (N, C, *spatial) → (N, 1, *spatial), the same at every position."""
    group = next(size for size in range(min(GROUP, len(x)), 0, -1) if len(x) % size == 0)
    parts = x.float().unflatten(0, (group, -1))
    mean = (parts.var(0, unbiased=False) + 1e-8).sqrt().flatten(1).mean(1)
    return mean.repeat(group).view(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:]).to(x.dtype)
