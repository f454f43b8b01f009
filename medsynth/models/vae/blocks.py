"""Residual blocks of MONAI's AutoencoderKL that are told a condition, for encoder and decoder."""

from __future__ import annotations

import torch
from monai.networks.nets.autoencoderkl import AEKLResBlock
from torch import Tensor, nn

from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import AUGMENTATION_FEATURES, ImageSpec
from medsynth.models.networks.blocks import CONV, ConditionEmbedding, normalisation, zero_initialised

EMBEDDING = 64  # width of the vector that stands for a condition


class Told(nn.Module):
    """What the scalars of a condition, and the augmentation, are to a network: (N, EMBEDDING)."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.condition = ConditionEmbedding(spec.conditions, EMBEDDING)
        self.augmentation = nn.Linear(AUGMENTATION_FEATURES[spec.spatial_dims], EMBEDDING, bias=False)
        self.mix = nn.Sequential(nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU())

    def forward(self, conditioning: Conditioning) -> Tensor:
        known = self.condition(conditioning.condition) + self.augmentation(conditioning.augmentation)
        return known + self.mix(known)


class ToldBlock(nn.Module):
    """AutoencoderKL's residual block; its output is scaled and shifted by the condition (FiLM, Perez et al. 2018).

    What is drawn of the condition is added by a 1 x 1 convolution. Both begin without effect.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, planes: int) -> None:
        super().__init__()
        groups = next(g for g in range(normalisation(inputs).num_groups, 0, -1) if outputs % g == inputs % g == 0)
        self.block = AEKLResBlock(spatial_dims, inputs, groups, 1e-5, outputs)
        self.film = zero_initialised(nn.Linear(EMBEDDING, 2 * outputs))
        self.draw = zero_initialised(CONV[spatial_dims](planes, outputs, 1, bias=False)) if planes else None

    def forward(self, x: Tensor, told: Tensor, planes: Tensor) -> Tensor:
        """x: (N, inputs, *grid), told: (N, EMBEDDING), planes: (N, P, *grid) → (N, outputs, *grid)."""
        scale, shift = self.film(told).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        x = torch.addcmul(shift, self.block(x), scale + 1)
        return x if self.draw is None else x + self.draw(planes)
