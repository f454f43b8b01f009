"""One stage of the cascade: a network that takes noise from sub-bands, as formulated by Karras et al. 2022 ("EDM").

Equation numbers are of that paper. Each sub-band is scaled to unit variance to the power `whitening`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.conditions.schema import Condition
from medsynth.config.families.diffusion import NOISE_RANGE, Diffusion, Stage
from medsynth.models.contract import AUGMENTATION_FEATURES, ImageSpec, Place
from medsynth.models.networks.blocks import ConditionEmbedding, FourierFeatures
from medsynth.models.networks.unet import UNet


@dataclass(frozen=True)
class Given:
    """What a stage is told beside the noisy sub-bands.

    Attributes:
        condition: N conditions.
        planes: (N, P, *spatial) the coarser image, after the first stage, the drawn conditions, and positions, for a
            stage that is told them.
        augmentation: (N, A) what was done to each image.
        coarse_noise: (N,) the noise on the coarser image, as a share of its standard deviation.
    """

    condition: Condition
    planes: Tensor
    augmentation: Tensor
    coarse_noise: Tensor

    def at(self, place: Place) -> Given:
        """The same of a part of the image."""
        return replace(self, planes=self.planes[place])


def append_dims(x: Tensor, ndim: int) -> Tensor:
    """(N,) → (N, 1, ..., 1) with `ndim` axes."""
    return x.view(-1, *[1] * (ndim - 1))


def over_batch(losses: Tensor, count: int) -> Tensor:
    """(count,) of the first images' losses: what was not seen counts as nothing, what was seen for the whole batch."""
    return F.pad(losses * (count / len(losses)), (0, count - len(losses)))


class Moments:
    """Mean and standard deviation of each channel, over images that come some at a time: (1, C, 1, ..., 1) each."""

    def __init__(self) -> None:
        self.count = 0  # values of a channel
        self.total = self.squares = torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Take in (N, C, *spatial)."""
        x = x.double()  # the difference of two large sums is taken of them
        axes = [0, *range(2, x.ndim)]
        self.count += x.numel() // x.shape[1]
        self.total = self.total + x.sum(axes, keepdim=True)
        self.squares = self.squares + x.square().sum(axes, keepdim=True)

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def deviation(self) -> Tensor:
        return ((self.squares - self.total * self.mean) / (self.count - 1)).clamp(min=0).sqrt()


class Denoiser(nn.Module):
    """D(x; sigma) of Eq. 7 around a U-Net.

    Args:
        bands: sub-bands that it makes.
        coarse: channels of the coarser image that it is given, 0 for the first stage.
    """

    def __init__(self, settings: Diffusion, stage: Stage, spec: ImageSpec, bands: int, coarse: int) -> None:
        super().__init__()
        self.settings = settings
        self.band_mean: Tensor
        self.band_scale: Tensor
        self.sigma_data: Tensor
        self.coarse_mean: Tensor
        self.coarse_scale: Tensor
        ones = [1] * spec.spatial_dims
        self.register_buffer("band_mean", torch.zeros(1, bands, *ones))
        self.register_buffer("band_scale", torch.ones(1, bands, *ones))
        self.register_buffer("sigma_data", torch.ones(1, bands, *ones))
        self.register_buffer("coarse_mean", torch.zeros(1, coarse, *ones))
        self.register_buffer("coarse_scale", torch.ones(1, coarse, *ones))
        features = 4 * stage.channels[0]
        self.noise = nn.Sequential(FourierFeatures(64), nn.Linear(64, features))
        self.condition = ConditionEmbedding(spec.conditions, features)
        self.augmentation = nn.Linear(AUGMENTATION_FEATURES[spec.spatial_dims], features, bias=False)
        self.coarse_noise = nn.Linear(1, features, bias=False) if coarse else None
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(features, features), nn.SiLU())
        self.unet = UNet(
            spec.spatial_dims,
            bands + coarse + spec.conditions.map_channels + (spec.spatial_dims if stage.positions else 0),
            bands,
            stage.channels,
            stage.blocks,
            features,
            settings.training.gradient_checkpointing,
        )

    @torch.no_grad()
    def set_statistics(self, bands: Moments, coarse: Moments) -> None:
        """Fix the scales by the moments of the training images' sub-bands, and of the coarser image if it is given."""
        deviation = bands.deviation.clamp(min=1e-3)
        self.band_mean.copy_(bands.mean)
        self.band_scale.copy_(deviation**self.settings.whitening)
        self.sigma_data.copy_(deviation / self.band_scale)
        if coarse.count:
            self.coarse_mean.copy_(coarse.mean)
            self.coarse_scale.copy_(coarse.deviation.clamp(min=1e-3))

    def to_latent(self, bands: Tensor) -> Tensor:
        return (bands - self.band_mean) / self.band_scale

    def to_bands(self, latent: Tensor) -> Tensor:
        return latent * self.band_scale + self.band_mean

    def forward(self, x: Tensor, sigma: Tensor, given: Given) -> Tensor:
        """x: (N, C, *spatial) noisy sub-bands, sigma: (N,) → the expected clean ones; preconditioning of Table 1."""
        wide = append_dims(sigma, x.ndim)
        variance = wide**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / variance
        c_out = wide * self.sigma_data / variance.sqrt()
        c_in = 1 / variance.sqrt()
        c_noise = sigma.log() / 4
        embedding = self.noise(c_noise) + self.condition(given.condition) + self.augmentation(given.augmentation)
        if self.coarse_noise is not None:
            share = given.coarse_noise[:, None] / max(self.settings.coarse_noise, 1e-6)
            embedding = embedding + self.coarse_noise(2 * share - 1)
        raw = self.unet(torch.cat([c_in * x, given.planes], 1), self.mix(embedding))
        return c_skip * x + c_out * raw.float()

    def attempt(self, latent: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        """Take noise of random levels from (N, C, *spatial): the clean data that it expects, and the levels (N,)."""
        count = len(latent)
        # Stratified over the batch for a steadier gradient.
        quantile = (torch.rand(1, device=latent.device) + torch.arange(count, device=latent.device) / count) % 1
        sigma = self.noise_level(quantile)
        wide = append_dims(sigma, latent.ndim)
        return self(latent + wide * torch.randn_like(latent), sigma, given), sigma

    def noise_level(self, quantile: Tensor) -> Tensor:
        """Noise levels of training: (N,) from U(0, 1).

        ln(sigma) ~ N(P_mean, P_std^2), Table 1; a share `p_tails` is uniform over the logarithm of NOISE_RANGE, since
        sampling begins where that normal distribution never comes.
        """
        tails, (low, high) = self.settings.p_tails, (math.log(level) for level in NOISE_RANGE)
        even = low + (high - low) * quantile / max(tails, 1e-9)
        normal = torch.special.ndtri(((quantile - tails) / max(1 - tails, 1e-9)).clamp(1e-4, 1 - 1e-4))
        return torch.where(quantile < tails, even, self.settings.p_mean + self.settings.p_std * normal).exp()

    def error(self, denoised: Tensor, latent: Tensor, sigma: Tensor) -> Tensor:
        """Squared error (N,) by lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2, Table 1 and Eq. 8.

        About 1 for a network that has learnt nothing.
        """
        wide = append_dims(sigma, latent.ndim)
        weight = (wide**2 + self.sigma_data**2) / (wide * self.sigma_data) ** 2
        return (weight * (denoised - latent) ** 2).flatten(1).mean(1)
