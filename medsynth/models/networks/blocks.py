"""The parts that networks share: convolutions by dimension, residual blocks with FiLM, attention, embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from medsynth.conditions.kind import WAVES, Condition
from medsynth.conditions.schema import ConditionSchema


class Conv3d(nn.Conv3d):
    """A convolution of volumes that trains in bfloat16 on a CPU however few slices a volume has.

    The gradient of the weights that PyTorch 2.13 (oneDNN) finds in bfloat16 reads memory that nothing was written to
    where a volume is 2 slices deep and padded by 1: it is random, and often not finite. Such volumes go through in
    float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or input.shape[2] > 2 * self.padding[0]:
            return super().forward(input)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(dtype)


CONV = {2: nn.Conv2d, 3: Conv3d}
AVERAGE_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}


def zero_initialised(layer: nn.Module) -> nn.Module:
    """Start a layer at zero, so that a residual branch begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def normalisation(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018) with 16 channels in a group where the number is divisible."""
    groups = max(1, channels // 16)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=1e-5)


class ResidualBlock(nn.Module):
    """Two convolutions with group normalisation; the embedding scales and shifts between them (FiLM, Perez 2018)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, embedding: int) -> None:
        super().__init__()
        conv = CONV[spatial_dims]
        self.norm1 = normalisation(in_channels)
        self.conv1 = conv(in_channels, out_channels, 3, padding=1, bias=False)
        self.film = zero_initialised(nn.Linear(embedding, 2 * out_channels))
        self.norm2 = normalisation(out_channels)
        self.conv2 = zero_initialised(conv(out_channels, out_channels, 3, padding=1))
        self.skip = conv(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (N, in_channels, *spatial), embedding: (N, E) → (N, out_channels, *spatial)."""
        hidden = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = self.film(embedding).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        hidden = torch.addcmul(shift, hidden, scale + 1)
        return self.skip(x) + self.conv2(F.silu(hidden))


class Attention(nn.Module):
    """Self-attention over all positions (Vaswani et al. 2017), as a residual branch."""

    def __init__(self, channels: int, head_channels: int = 64) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, channels // head_channels), 0, -1) if channels % heads == 0)
        self.norm = normalisation(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = zero_initialised(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, *spatial) → the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (N, L, C)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(mixed).transpose(1, 2).view_as(x)


class FourierFeatures(nn.Module):
    """Cosines of a scalar at fixed frequencies (Tancik et al. 2020): (N,) → (N, features)."""

    def __init__(self, features: int, octaves: float = 5.0) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", 2 ** torch.linspace(-1, octaves, features // 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        angles = math.pi * x.float()[:, None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], 1)


class ConditionEmbedding(nn.Module):
    """One vector for a typed condition: each scalar has its value's embedding, or its token for missing or n/a."""

    def __init__(self, schema: ConditionSchema, features: int) -> None:
        super().__init__()
        self.schema = schema
        self.fourier = FourierFeatures(WAVES, octaves=1)  # slow waves: neighbouring values must mean nearly the same
        self.tokens = nn.Parameter(0.5 * torch.randn(sum(kind.tokens for kind in schema.kinds.values()), 2, features))
        self.values = nn.ModuleList()
        self.places: dict[str, tuple[slice, slice]] = {}  # of a field's layers and tokens
        tokens = 0
        for name, kind in schema.kinds.items():
            layers = kind.layers(features)
            self.places[name] = (
                slice(len(self.values), len(self.values) + len(layers)),
                slice(tokens, tokens + kind.tokens),
            )
            self.values.extend(layers)
            tokens += kind.tokens

    def forward(self, condition: Condition) -> Tensor:
        """(N, F) values and states → (N, features)."""
        parts, layers = self.schema.parts(condition), list(self.values)
        terms = [
            term
            for name, (of, tokens) in self.places.items()
            for term in self.schema.kinds[name].embed(layers[of], self.tokens[tokens], self.fourier, parts[name])
        ]
        total = torch.zeros_like(self.tokens[0, 0]).expand(len(condition), -1)
        for term in terms:
            total = total + term
        return total / len(terms) ** 0.5


def run(block: Callable[..., Tensor], checkpointing: bool, *arguments: Tensor) -> Tensor:
    """Call a block; with checkpointing its activations are computed again in the backward pass (Chen et al. 2016)."""
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(block, *arguments, use_reentrant=False)
    return block(*arguments)
