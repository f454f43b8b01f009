"""Diffusion in the latent space of a trained autoencoder (Rombach et al. 2022, section 3.2).

The autoencoder takes what can be said in few numbers out of an image; the diffusion model learns which of these numbers
go together, where the autoencoder's own prior is a chain of Gaussians.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from medsynth.config.families.latent_diffusion import AUTOENCODER, LatentDiffusion, LatentDiffusionSampler
from medsynth.config.families.vae import Autoencoder
from medsynth.config.family import Family
from medsynth.errors import InputError
from medsynth.models.contract import Batch, GenerativeModel, ImageSpec, Phase
from medsynth.models.diffusion.denoiser import Moments
from medsynth.models.families.diffusion import DiffusionModel
from medsynth.models.families.vae import VaeModel
from medsynth.models.vae import tiles

WIDTH = 4.0  # deviations of a latent that fill [-1, 1], in which a diffusion model draws


class LatentDiffusionModel(GenerativeModel):
    """A diffusion model whose images are latents, between an encoder and a decoder that learn no more."""

    averaged = ("inner.stages", "scaling", "autoencoder.encoder", "autoencoder.prior", "autoencoder.decoder")
    reconstructs = True
    keeps_guide = True

    def __init__(self, settings: LatentDiffusion, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(spec)
        of_parent = parents[AUTOENCODER]
        assert isinstance(of_parent, Autoencoder)  # the configuration admits no other
        if reason := settings.misfit_of(of_parent, spec.size):
            raise InputError(reason)
        grid, channels = of_parent.grid_of(spec.size), of_parent.latent_of(spec.size)
        self.autoencoder = VaeModel(of_parent, spec, {}).requires_grad_(False)
        self.inner = DiffusionModel(settings.of_latents(), ImageSpec(channels, grid, spec.conditions), {})
        self.phases = tuple(
            Phase(phase.name, tuple(f"inner.{path}" for path in phase.modules)) for phase in self.inner.phases
        )
        self.scaling = Scaling(channels, spec.spatial_dims)

    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        """Take the autoencoder, and the mean and deviation of each channel of its latents."""
        parent = parents.get(AUTOENCODER)
        if not isinstance(parent, VaeModel):
            got = "none" if parent is None else type(parent).__name__
            raise InputError(f"a latent diffusion model needs a trained autoencoder, got {got}")
        if parent.settings.trained_by() != self.autoencoder.settings.trained_by():
            raise InputError("the autoencoder was trained by other settings than those that the model names")
        known = parent.state_dict()
        self.autoencoder.load_state_dict({name: known[name] for name in self.autoencoder.sampled_state()}, strict=False)
        latents, moments = [], Moments()
        for block in blocks:
            nothing = Batch(self.spec.conditions.nothing(len(block)), block)
            latents.append(self.encode(nothing))
            moments.add(latents[-1])
        self.scaling.set(moments)
        self.inner.begin((self.scaling.scaled(latent) for latent in latents), {})

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """The latents (N, L, *grid) of a batch's images: the means of their posteriors."""
        assert batch.image is not None
        told = self.autoencoder.conditioning(batch.condition, batch.augmentation)
        with torch.autocast(batch.image.device.type, enabled=False):
            encoded = self.autoencoder.encoder(batch.image, told)
            return self.autoencoder.prior.infer(encoded, sampled=False)[0]

    def of_latents(self, batch: Batch) -> Batch:
        """The batch with its scaled latents as images."""
        return replace(batch, image=self.scaling.scaled(self.encode(batch)))

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        return self.inner.loss(self.of_latents(batch), phase)

    def score(self, batch: Batch) -> Tensor | None:
        return self.inner.score(self.of_latents(batch))

    def membership_scores(self, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Of the stages that draw latents, and of the autoencoder, which learnt from the same images."""
        batch = batch.to(self.device)
        own = self._guided_inner().membership_scores(self.of_latents(batch), seeds)
        others = self.autoencoder.membership_scores(batch, seeds)
        return own | {f"{AUTOENCODER}_{name}": values for name, values in others.items()}

    def canary_loss(self, batch: Batch) -> Tensor:
        return self.inner.canary_loss(self.of_latents(batch))

    def networks(self) -> list[nn.Module]:
        return [*super().networks(), *self.autoencoder.networks()]

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        return self.autoencoder.reconstruct(batch)

    def _guided_inner(self) -> DiffusionModel:
        """The model that draws latents, with its early state."""
        self.inner.guide = None if self.guide is None else self.guide.inner
        return self.inner

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: LatentDiffusionSampler) -> Tensor:
        batch = batch.to(self.device)
        latent = self.scaling.unscaled(self._guided_inner().sample(batch, seeds, settings))
        with self.inner.autocast(settings.precision):
            told = self.autoencoder.conditioning(batch.condition)
            image = tiles.decode(self.autoencoder.decoder, latent, told, settings.decode_tiles)
        return image.float().clamp(-1, 1)


class Scaling(nn.Module):
    """Latents as images: WIDTH deviations of each channel fill [-1, 1], and what lies beyond is cut off."""

    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__()
        ones = [1] * spatial_dims
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(1, channels, *ones))
        self.register_buffer("scale", torch.ones(1, channels, *ones))

    def set(self, moments: Moments) -> None:
        self.mean.copy_(moments.mean)
        self.scale.copy_(WIDTH * moments.deviation.clamp(min=1e-6))

    def scaled(self, latent: Tensor) -> Tensor:
        """(N, L, *grid) → the same shape, in [-1, 1]."""
        return ((latent - self.mean) / self.scale).clamp(-1, 1)

    def unscaled(self, image: Tensor) -> Tensor:
        """The inverse of `scaled`."""
        return image * self.scale + self.mean
