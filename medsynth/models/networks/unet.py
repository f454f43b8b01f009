"""The U-Net (Ronneberger et al. 2015) of residual blocks, with attention at its coarsest level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.models.networks.blocks import (
    AVERAGE_POOL,
    CONV,
    Attention,
    ResidualBlock,
    normalisation,
    run,
    zero_initialised,
)


class UNet(nn.Module):
    """Maps an image and an embedding vector to an image of the same size.

    Every spatial size must be divisible by 2^(levels - 1).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        blocks: int,
        embedding: int,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.gradient_checkpointing = gradient_checkpointing
        self.enter = CONV[spatial_dims](in_channels, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList()
        width = channels[0]
        for level in channels:
            self.encoder.append(nn.ModuleList())
            for _ in range(blocks):
                self.encoder[-1].append(ResidualBlock(spatial_dims, width, level, embedding))
                width = level
        self.middle = ResidualBlock(spatial_dims, width, width, embedding)
        self.attention = Attention(width)
        self.decoder = nn.ModuleList()
        for level in reversed(channels):
            self.decoder.append(nn.ModuleList())
            for _ in range(blocks):
                self.decoder[-1].append(ResidualBlock(spatial_dims, width + level, level, embedding))
                width = level
        self.leave = nn.Sequential(
            normalisation(width),
            nn.SiLU(),
            zero_initialised(CONV[spatial_dims](width, out_channels, 3, padding=1)),
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (N, in_channels, *spatial), embedding: (N, E) → (N, out_channels, *spatial)."""
        x = self.enter(x)
        skips = []
        for depth, level in enumerate(self.encoder):
            if depth:
                x = AVERAGE_POOL[self.spatial_dims](x, 2)
            for block in level:
                x = run(block, self.gradient_checkpointing, x, embedding)
                skips.append(x)
        x = self.attention(run(self.middle, self.gradient_checkpointing, x, embedding))
        for depth, level in enumerate(self.decoder):
            if depth:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            for block in level:
                x = run(block, self.gradient_checkpointing, torch.cat([x, skips.pop()], 1), embedding)
        return self.leave(x)
