"""Diffusion in the formulation of Karras et al. 2022 ("EDM"): equation numbers are of that paper.

The image is first turned by a lossless codec into sub-bands, each scaled to unit variance to the power `whitening`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medsynth import config
from medsynth.augmentation import AUGMENTATION_FEATURES
from medsynth.codecs import Codec
from medsynth.conditions import Condition
from medsynth.errors import InputError
from medsynth.models import GenerativeModel, ImageSpec
from medsynth.networks.blocks import ConditionEmbedding, FourierFeatures
from medsynth.networks.unet import UNet

Denoiser = Callable[[Tensor, Tensor], Tensor]

MAP_SCALE = 3.0  # lesions cover little of the map; set on one pair of short runs, whose intervals overlap


def append_dims(x: Tensor, ndim: int) -> Tensor:
    """(N,) → (N, 1, ..., 1) with `ndim` axes."""
    return x.view(-1, *[1] * (ndim - 1))


class DiffusionNetwork(nn.Module):
    """The raw network F(c_in x; c_noise, condition) of Eq. 7."""

    def __init__(self, settings: config.Diffusion, spec: ImageSpec, codec: Codec) -> None:
        super().__init__()
        features = 4 * settings.channels[0]
        self.noise = nn.Sequential(FourierFeatures(64), nn.Linear(64, features))
        self.condition = ConditionEmbedding(spec.conditions, features)
        self.augmentation = nn.Linear(AUGMENTATION_FEATURES[spec.spatial_dims], features, bias=False)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(features, features), nn.SiLU())
        self.unet = UNet(
            spec.spatial_dims,
            codec.channels + spec.conditions.map_channels,
            codec.channels,
            settings.channels,
            settings.blocks,
            features,
            settings.training.gradient_checkpointing,
        )

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition, lesion_map: Tensor, augmentation: Tensor):
        """x: (N, C, *spatial), c_noise: (N,), lesion_map: (N, M, *spatial), augmentation: (N, A)."""
        embedding = self.mix(self.noise(c_noise) + self.condition(condition) + self.augmentation(augmentation))
        return self.unet(torch.cat([x, lesion_map], 1), embedding)


class DiffusionModel(GenerativeModel):
    """A denoiser D(x; sigma) trained by Eq. 8 and sampled by Heun's method."""

    players = ("net",)

    def __init__(self, settings: config.Diffusion, spec: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        self.spec = spec
        self.codec = Codec(settings.codec, spec.channels, spec.spatial_dims)
        step = self.codec.factor * 2 ** (len(settings.channels) - 1)
        if any(extent % step for extent in spec.size):
            raise InputError(
                f"size {list(spec.size)} is not divisible by {step}, which codec {settings.codec.kind} with "
                f"{settings.codec.levels} levels and {len(settings.channels)} network levels need"
            )
        self.band_scale: Tensor
        self.sigma_data: Tensor
        self.band_mean: Tensor
        bands = (1, self.codec.channels, *[1] * spec.spatial_dims)
        self.register_buffer("band_scale", torch.ones(bands))
        self.register_buffer("sigma_data", torch.ones(bands))
        self.register_buffer("band_mean", torch.zeros(bands))
        self.net = DiffusionNetwork(settings, spec, self.codec)

    @torch.no_grad()
    def fit_statistics(self, images: Tensor) -> None:
        """Measure each sub-band's mean and standard deviation over the training images."""
        bands = self.codec.encode(images)
        axes = [0, *range(2, bands.ndim)]
        self.band_mean.copy_(bands.mean(axes, keepdim=True))
        deviation = bands.std(axes, keepdim=True).clamp(min=1e-3)
        self.band_scale.copy_(deviation**self.settings.whitening)
        self.sigma_data.copy_(deviation / self.band_scale)

    def to_latent(self, image: Tensor) -> Tensor:
        return (self.codec.encode(image) - self.band_mean) / self.band_scale

    def to_image(self, latent: Tensor) -> Tensor:
        return self.codec.decode(latent * self.band_scale + self.band_mean)

    def lesion_map(self, condition: Condition) -> Tensor:
        """The drawn conditions at the network's resolution: (N, M, *spatial / factor)."""
        drawn = self.spec.conditions.draw(condition, self.spec.size)
        for axis in range(2, drawn.ndim):
            drawn = drawn.unflatten(axis, (-1, self.codec.factor)).mean(axis + 1)
        return MAP_SCALE * drawn

    def denoise(
        self, x: Tensor, sigma: Tensor, condition: Condition, lesion_map: Tensor, augmentation: Tensor | None = None
    ) -> Tensor:
        """D(x; sigma) of Eq. 7 with the preconditioning of Table 1.

        Args:
            x: (N, C, *spatial) noisy sub-bands, sigma: (N,).
        """
        if augmentation is None:
            augmentation = x.new_zeros(len(x), AUGMENTATION_FEATURES[self.spec.spatial_dims])
        wide = append_dims(sigma, x.ndim)
        variance = wide**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / variance
        c_out = wide * self.sigma_data / variance.sqrt()
        c_in = 1 / variance.sqrt()
        c_noise = sigma.log() / 4
        return c_skip * x + c_out * self.net(c_in * x, c_noise, condition, lesion_map, augmentation).float()

    def loss(self, image: Tensor, condition: Condition, augmentation: Tensor, player: str) -> dict[str, Tensor]:
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 would round what is to be learnt
            latent = self.to_latent(image)
        count = len(latent)
        # ln(sigma) ~ N(P_mean, P_std^2), Table 1; stratified over the batch for a steadier gradient.
        quantile = (torch.rand(1, device=latent.device) + torch.arange(count, device=latent.device) / count) % 1
        normal = torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4))
        sigma = (self.settings.p_mean + self.settings.p_std * normal).exp()
        dropping = torch.rand(count, len(self.spec.conditions.groups) + 1, device=latent.device)
        condition = self.spec.conditions.drop(condition, self.settings.condition_dropout, dropping)
        wide = append_dims(sigma, latent.ndim)
        noisy = latent + wide * torch.randn_like(latent)
        denoised = self.denoise(noisy, sigma, condition, self.lesion_map(condition), augmentation)
        # lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2, Table 1.
        weight = (wide**2 + self.sigma_data**2) / (wide * self.sigma_data) ** 2
        return {"denoising": (weight * (denoised - latent) ** 2).flatten(1).mean(1)}

    @torch.no_grad()
    def sample(self, condition: Condition, seeds: Sequence[int], settings: config.DiffusionSampler) -> Tensor:
        shape = (self.codec.channels, *(extent // self.codec.factor for extent in self.spec.size))
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        noise = noise.to(self.band_scale.device)
        condition = condition.to(noise.device)
        lesion_map = self.lesion_map(condition)
        unconditional = self.spec.conditions.nothing(len(seeds)).to(noise.device)
        blank_map = torch.zeros_like(lesion_map)
        guide = self.guide
        if settings.autoguidance != 1 and guide is None:
            raise InputError("sampler.autoguidance: the model has no early state to be guided by")

        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            sigma = sigma.expand(len(x))
            guided = self.denoise(x, sigma, condition, lesion_map)
            if settings.guidance != 1:
                free = self.denoise(x, sigma, unconditional, blank_map)
                guided = free + settings.guidance * (guided - free)  # Ho & Salimans 2022, Eq. 6
            if settings.autoguidance != 1:
                weak = guide.denoise(x, sigma, condition, lesion_map)
                guided = weak + settings.autoguidance * (guided - weak)  # Karras et al. 2024b, Eq. 3
            return guided

        sigmas = noise_schedule(settings.steps, self.settings.sigma_min, self.settings.sigma_max, settings.rho)
        latent = SOLVERS[settings.solver](denoiser, noise * sigmas[0], sigmas.to(noise.device))
        return self.to_image(latent).clamp(-1, 1)


def noise_schedule(steps: int, sigma_min: float, sigma_max: float, rho: float) -> Tensor:
    """Noise levels from sigma_max to sigma_min, then 0 (Eq. 5): (steps + 1,)."""
    ramp = torch.linspace(0, 1, steps)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


def heun(denoiser: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's 2nd-order method on the probability-flow ODE (Algorithm 1).

    Args:
        x: (N, C, *spatial) noise scaled by sigmas[0].
        sigmas: (steps + 1,) falling to 0.
    """
    for sigma, following in pairwise(sigmas):
        slope = (x - denoiser(x, sigma)) / sigma
        euler = x + (following - sigma) * slope
        if following == 0:
            return euler
        x = x + (following - sigma) * (slope + (euler - denoiser(euler, following)) / following) / 2
    return x


def dpm_solver(denoiser: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2): second order at one evaluation a step, the last one saved for x0.

    Args: as `heun`.
    """
    before: Tensor | None = None
    last_step = torch.zeros(())
    for sigma, following in pairwise(sigmas):
        denoised = denoiser(x, sigma)
        if following == 0:
            return denoised
        step = (sigma / following).log()
        estimate = denoised
        if before is not None:
            ratio = step / last_step / 2
            estimate = (1 + ratio) * denoised - ratio * before
        x = following / sigma * x - torch.expm1(-step) * estimate
        before, last_step = denoised, step
    return x


SOLVERS: dict[str, Callable[[Denoiser, Tensor, Tensor], Tensor]] = {"heun": heun, "dpm_solver": dpm_solver}
