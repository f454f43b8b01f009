"""The generator: a latent vector and a condition → a style → an image, from coarse to fine on Haar bands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medsynth.config.families.stylegan import Stylegan
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import AUGMENTATION_FEATURES, ImageSpec
from medsynth.models.networks.blocks import ConditionEmbedding
from medsynth.models.stylegan.layers import (
    EqualisedLinear,
    ModulatedConv,
    activate,
    averaged_down,
    normalised,
    upsample,
)
from medsynth.models.wavelets import Codec

MAPPING_RATE = 0.1  # share of the learning rate; 0.01 in Karras et al. 2019, who train a thousand times as long


class StyleMapping(nn.Module):
    """The mapping network: a latent vector and a condition → a style."""

    def __init__(self, settings: Stylegan, spec: ImageSpec) -> None:
        super().__init__()
        width = settings.latent_dim
        self.condition = ConditionEmbedding(spec.conditions, width)
        self.augmentation = nn.Linear(AUGMENTATION_FEATURES[spec.spatial_dims], width, bias=False)
        self.layers = nn.ModuleList(
            EqualisedLinear(width if index else 2 * width, width, rate=MAPPING_RATE)
            for index in range(settings.mapping_layers)
        )

    def forward(self, latent: Tensor, conditioning: Conditioning) -> Tensor:
        """(N, latent_dim) → (N, S)."""
        known = self.condition(conditioning.condition) + self.augmentation(conditioning.augmentation)
        style = torch.cat([normalised(latent), normalised(known)], 1)
        for layer in self.layers:
            style = activate(layer(style))
        return style


class StyledConv(nn.Module):
    """A modulated convolution, noise for each pixel with a learnt strength, and an activation."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, style: int, planes: int = 0) -> None:
        super().__init__()
        self.conv = ModulatedConv(spatial_dims, inputs, outputs, 3, style, planes)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor, planes: Tensor | None = None) -> Tensor:
        """x: (N, inputs, *spatial), style: (N, S), planes: (N, P, *spatial) → (N, outputs, *spatial of the noise)."""
        x = self.conv(x, style, planes)
        if x.shape[2:] != noise.shape[2:]:
            x = upsample(x)
        return activate(x + self.strength * noise + self.bias.view(-1, *[1] * (x.ndim - 2)))


class Level(nn.Module):
    """One resolution: from the features of the one before it to its own, and to bands."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, bands: int, style: int, planes: int) -> None:
        super().__init__()
        self.enlarge = StyledConv(spatial_dims, inputs, outputs, style) if inputs else None
        self.refine = StyledConv(spatial_dims, outputs, outputs, style, planes)
        self.to_bands = ModulatedConv(spatial_dims, outputs, bands, 3, style, demodulated=False)

    def forward(self, x: Tensor, style: Tensor, noises: Sequence[Tensor], planes: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, outputs, *grid) and bands (N, B, *grid)."""
        if self.enlarge is not None:
            x = self.enlarge(x, style, noises[0])
        x = self.refine(x, style, noises[-1], planes)
        return x, self.to_bands(x, style)


class Synthesis(nn.Module):
    """Styles → an image: the sum of what each resolution adds (Karras et al. 2020, section 4.2).

    Attributes:
        grids: spatial shape of the features at each resolution.
    """

    def __init__(self, settings: Stylegan, spec: ImageSpec) -> None:
        super().__init__()
        dims, channels = spec.spatial_dims, settings.channels
        self.haar = Codec("haar", 1, spec.channels, dims)
        self.grids = [tuple(extent // 2 ** (len(channels) - n) for extent in spec.size) for n in range(len(channels))]
        self.start = EqualisedLinear(settings.latent_dim, channels[0] * math.prod(self.grids[0]))
        self.levels = nn.ModuleList(
            Level(dims, before, own, self.haar.channels, settings.latent_dim, spec.conditions.map_channels)
            for before, own in zip((0, *channels), channels, strict=False)
        )

    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Of the noise that an image needs, in order: (1, *grid) for each layer."""
        return [(1, *self.grids[level]) for level in self.noise_levels()]

    def noise_levels(self) -> list[int]:
        """The level of each layer that has noise, in order."""
        return [level for level in range(len(self.grids)) for _ in range(2 if level else 1)]

    def forward(self, styles: Tensor, noises: tuple[Tensor, ...], conditioning: Conditioning, reach: float) -> Tensor:
        """styles: (N, levels, S), noises: (N, 1, *grid) each → (N, C, *spatial) at the resolution that is reached.

        Args:
            reach: the finest level, counted from 0; what is after the point is how far the next one has faded in.
        """
        x = self.start(styles[:, 0]).view(len(styles), -1, *self.grids[0])
        last, faded = whole_and_part(reach)
        image = x.new_zeros(0)
        for number in range(last + (faded > 0) + 1):
            planes = averaged_down(conditioning.planes, len(self.levels) - number)
            noise = noises[max(0, 2 * number - 1) : 2 * number + 1]
            x, bands = self.levels[number](x, styles[:, number], noise, planes)
            with torch.autocast(x.device.type, enabled=False):  # bfloat16 has too few steps for a pixel
                added = self.haar.decode(bands.float())
            image = upsample(image) + (faded if number > last else 1.0) * added if number else added
        return image


def whole_and_part(reach: float) -> tuple[int, float]:
    """2.25 → level 2, a quarter of level 3."""
    return int(reach), reach - int(reach)
