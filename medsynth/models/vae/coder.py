"""Encoder and decoder: an image → the mean and variance of a latent grid, and a latent grid → an image."""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.nets.autoencoderkl import AEKLDownsample
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.config.families.vae import Autoencoder
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import ImageSpec, Place
from medsynth.models.networks.blocks import CONV, Attention, normalisation, run, zero_initialised
from medsynth.models.stylegan.layers import averaged_down
from medsynth.models.vae.blocks import Told, ToldBlock
from medsynth.models.vae.statistics import Average
from medsynth.models.wavelets import Codec


class Encoder(nn.Module):
    """An image and its condition → the mean and the logarithm of the variance of a latent."""

    def __init__(self, settings: Autoencoder, spec: ImageSpec) -> None:
        super().__init__()
        dims, channels, planes = spec.spatial_dims, settings.channels, spec.conditions.map_channels
        self.checkpointing = settings.training.gradient_checkpointing
        self.halvings = settings.haar_levels
        self.haar = Codec("haar", settings.haar_levels, spec.channels, dims)
        self.average = Average(spec)
        self.told = Told(spec)
        self.enter = CONV[dims](self.haar.channels + planes, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.ModuleList(ToldBlock(dims, before if n == 0 else own, own, planes) for n in range(settings.blocks))
            for before, own in pairwise((channels[0], *channels))
        )
        self.halve = nn.ModuleList(AEKLDownsample(dims, own) for own in channels[:-1])
        self.attention = Attention(channels[-1])
        self.norm = normalisation(channels[-1])
        self.leave = zero_initialised(CONV[dims](channels[-1], 2 * settings.latent_of(spec.size), 3, padding=1))
        self.patches = Codec("haar", settings.haar_levels + len(channels) - 1, spec.channels, dims)
        self.analyse = CONV[dims](self.patches.channels, settings.latent_of(spec.size), 1, bias=False)

    def forward(self, image: Tensor, conditioning: Conditioning) -> Tensor:
        """(N, C, *spatial) → (N, 2 L, *grid): means, then logarithms of variances."""
        told, image = self.told(conditioning), self.average.remove(image)
        bands = self.haar.encode(image)
        x = self.enter(torch.cat([bands, averaged_down(conditioning.planes, self.halvings)], 1))
        for number, blocks in enumerate(self.levels):
            if number:
                x = self.halve[number - 1](x)
            planes = averaged_down(conditioning.planes, self.halvings + number)
            for block in blocks:
                x = run(block, self.checkpointing, x, told, planes)
        means, log_variances = self.leave(F.silu(self.norm(self.attention(x)))).chunk(2, 1)
        return torch.cat([means + self.analyse(self.patches.encode(image)), log_variances], 1)


def reach_of(levels: int, blocks: int) -> int:
    """Places of the latent, to each side, on which a value of the image depends by what comes after `Decoder.begin`."""
    reach = 1  # of the last convolution, at the finest level
    for level in reversed(range(levels)):
        reach += 2 * blocks
        reach = -(-reach // 2) if level else reach
    return reach


class Decoder(nn.Module):
    """A latent and a condition → an image.

    Attributes:
        reach: `reach_of` its levels.
    """

    def __init__(self, settings: Autoencoder, spec: ImageSpec) -> None:
        super().__init__()
        dims, planes = spec.spatial_dims, spec.conditions.map_channels
        channels = settings.channels[::-1]
        self.checkpointing = settings.training.gradient_checkpointing
        self.halvings = settings.haar_levels + len(channels) - 1
        self.reach = reach_of(len(channels), settings.blocks)
        self.haar = Codec("haar", settings.haar_levels, spec.channels, dims)
        self.average = Average(spec)
        self.told = Told(spec)
        self.enter = CONV[dims](settings.latent_of(spec.size) + planes, channels[0], 3, padding=1)
        self.attention = Attention(channels[0])
        self.levels = nn.ModuleList(
            nn.ModuleList(ToldBlock(dims, before if n == 0 else own, own, planes) for n in range(settings.blocks))
            for before, own in pairwise((channels[0], *channels))
        )
        self.norm = normalisation(channels[-1])
        self.leave = zero_initialised(CONV[dims](channels[-1], self.haar.channels, 3, padding=1))
        self.patches = Codec("haar", self.halvings, spec.channels, dims)
        self.synthesise = CONV[dims](settings.latent_of(spec.size), self.patches.channels, 1, bias=False)

    def forward(self, latent: Tensor, conditioning: Conditioning) -> Tensor:
        """(N, L, *grid) → (N, C, *spatial)."""
        x = self.begin(latent, conditioning.planes)
        return self.finish(x, latent, self.told(conditioning), conditioning.planes)

    def begin(self, latent: Tensor, planes: Tensor) -> Tensor:
        """(N, L, *grid) and planes (N, P, *spatial) → (N, F, *grid): what needs all of the latent at once."""
        return self.attention(self.enter(torch.cat([latent, averaged_down(planes, self.halvings)], 1)))

    def finish(self, x: Tensor, latent: Tensor, told: Tensor, planes: Tensor, place: Place = ()) -> Tensor:
        """What `begin` made, the latent and the planes of a tile → that tile of the image.

        Args:
            told: (N, EMBEDDING) of the condition.
            place: where the tile lies in the image.
        """
        for number, blocks in enumerate(self.levels):
            if number:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            drawn = averaged_down(planes, self.halvings - number)
            for block in blocks:
                x = run(block, self.checkpointing, x, told, drawn)
        bands = self.leave(F.silu(self.norm(x)))
        with torch.autocast(bands.device.type, enabled=False):  # bfloat16 has too few steps for a pixel
            linear = self.patches.decode(self.synthesise(latent.float()))
            return self.average.add(linear + self.haar.decode(bands.float()), place)
