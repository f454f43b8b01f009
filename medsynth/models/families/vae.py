"""A variational autoencoder: an encoder, a conditional prior over the scales of its latent, and a decoder.

The evidence lower bound of an image x with condition c (Kingma & Welling 2014, Eq. 3) is
E_q(z | x, c) log p(x | z, c) - KL(q(z | x, c) || p(z | c)). The likelihood is a Gaussian whose variance is the mean
squared error that training finds, its best value (Rybkin et al. 2021, section 4.2): no weight is to be chosen between
the two terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from medsynth.conditions.schema import Condition
from medsynth.config.base_model import INITIAL
from medsynth.config.families.vae import Autoencoder, LatentSampler
from medsynth.config.family import Family
from medsynth.errors import InputError
from medsynth.models.conditioning import Conditioning, conditioning_of
from medsynth.models.contract import Batch, GenerativeModel, ImageSpec, Phase
from medsynth.models.inheritance import inherit
from medsynth.models.losses.terms import Terms
from medsynth.models.vae import tiles
from medsynth.models.vae.coder import Decoder, Encoder
from medsynth.models.vae.prior import Prior
from medsynth.models.vae.statistics import Kept, measure, principal_components

GREY_LEVEL = 2 / 255  # of an 8-bit image, in [-1, 1]: the least standard deviation of the likelihood
FIRST_VARIANCE = 0.25  # of the likelihood, before the first step
MOST_KEPT = 2**25  # values of training images that are looked at once more before the first step
HEEDED = 0.005  # share of the budget whose errors are averaged


@dataclass(frozen=True)
class Attempt:
    """What an autoencoder makes of N images.

    Attributes:
        image: (N, C, *spatial) the reconstruction, from a latent that was drawn from the posterior.
        kl: of each scale of the latent, in nats, (N,).
        error: (N,) mean squared error of a pixel.
    """

    image: Tensor
    kl: list[Tensor]
    error: Tensor


class VaeModel(GenerativeModel):
    """Encoder, prior and decoder, trained together."""

    averaged = ("encoder", "prior", "decoder")
    reconstructs = True
    phases: tuple[Phase, ...] = (Phase("autoencoder", ("encoder", "prior", "decoder")),)

    def __init__(self, settings: Autoencoder, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(spec)
        if reason := settings.misfit(spec.size):
            raise InputError(reason)
        self.settings = settings
        self.encoder = Encoder(settings, spec)
        self.prior = Prior(settings, spec)
        self.decoder = Decoder(settings, spec)
        self.terms = Terms(settings.losses, spec)
        self.term_weights = {"error": 0.0, "bits": 0.0} | {name: loss.weight for name, loss in settings.losses.items()}
        self.variance: Tensor
        self.register_buffer("variance", torch.tensor(FIRST_VARIANCE))
        self.pixels = spec.channels * math.prod(spec.size)
        grids = zip(self.prior.pyramid.bands, self.prior.grids, strict=True)
        self.values = [bands * math.prod(grid) for bands, grid in grids]  # of each scale of the latent

    @torch.no_grad()
    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        """Begin as probabilistic PCA of patches around the mean training image; then from an `initial` model."""
        average, patches = self.encoder.average, self.encoder.patches
        kept = Kept(MOST_KEPT)
        covariance = measure(kept.through(blocks), average, patches)
        if covariance is not None:
            self.decoder.average.load_state_dict(average.state_dict())
            scale = average.deviation.square()
            found = principal_components(
                covariance, self.settings.latent_of(self.spec.size), GREY_LEVEL**2 / float(scale)
            )
            self.encoder.analyse.weight.copy_(found.analysis.view_as(self.encoder.analyse.weight))
            self.decoder.synthesise.weight.copy_(found.synthesis.view_as(self.decoder.synthesise.weight))
            self.prior.set_spread(found.posterior_variance)
            linear = [self.encoder.analyse(patches.encode(average.remove(image[None]))) for image in kept.images]
            self.prior.begin(torch.cat(linear))
            self.variance.copy_(found.residual_variance * scale)
        if parent := parents.get(INITIAL):
            inherit(self, parent, INITIAL, {path: path for path, _ in self.named_children() if path != "terms"})

    def train_losses(self, batches: Iterator[Batch], images: int) -> None:
        self.terms.begin(batches, images, [self.spec.size])

    def heed(self, means: Mapping[str, Tensor], spent: float) -> None:
        """Follow the mean squared error: the variance of the likelihood."""
        if "error" in means:
            self.variance.lerp_(means["error"].to(self.variance), min(1.0, spent / HEEDED))
            self.variance.clamp_(min=GREY_LEVEL**2)

    def networks(self) -> list[nn.Module]:
        return [self.encoder, *self.prior.scales, self.decoder]

    def conditioning(self, condition: Condition, augmentation: Tensor | None = None) -> Conditioning:
        """What the networks are told of a condition."""
        return conditioning_of(self.spec, condition, augmentation)

    def lesson(self, batch: Batch) -> Conditioning:
        """What is told of a batch in training: some conditions are left out."""
        dropping = torch.rand(len(batch), len(self.spec.conditions.drops) + 1, device=batch.condition.values.device)
        condition = self.spec.conditions.drop(batch.condition, self.settings.condition_dropout, dropping)
        return self.conditioning(condition, batch.augmentation)

    def attempt(self, image: Tensor, conditioning: Conditioning) -> Attempt:
        """Reconstruct images (N, C, *spatial) from latents that are drawn from the posterior."""
        encoded = self.encoder(image, conditioning)
        latent, posterior = self.prior.infer(encoded)
        made = self.decoder(latent, conditioning)
        kl = self.prior.kl(latent, posterior, conditioning)
        return Attempt(made, kl, (made - image).square().flatten(1).mean(1))

    def nats(self, error: Tensor) -> Tensor:
        """-log p(x | z) (N,) for each pixel."""
        return gaussian_nats(error, self.variance)

    def kl_weight(self, progress: float) -> float:
        """After a linear warm-up (Sønderby et al. 2016, section 2.3)."""
        warmup = self.settings.kl_warmup
        return self.settings.kl_weight * (min(1.0, progress / warmup) if warmup else 1.0)

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        assert batch.image is not None
        conditioning = self.lesson(batch)
        return self.bound(batch, self.attempt(batch.image, conditioning))

    def bound(self, batch: Batch, attempt: Attempt) -> dict[str, Tensor]:
        """The terms of the evidence lower bound, in nats a pixel, and those of `losses`."""
        floors = [self.settings.free_nats * values for values in self.values]
        kl = torch.stack([each.clamp(min=floor) for each, floor in zip(attempt.kl, floors, strict=True)]).sum(0)
        terms = {
            "reconstruction": 0.5 * attempt.error / self.variance,
            "kl": self.kl_weight(batch.progress) * kl / self.pixels,
            "error": attempt.error.detach(),
            "bits": self.bits(attempt).detach(),
        }
        if self.terms:
            with torch.autocast(attempt.image.device.type, enabled=False):
                terms |= self.terms(attempt.image, batch, torch.zeros_like(attempt.error))
        return terms

    def bits(self, attempt: Attempt) -> Tensor:
        """The negative evidence lower bound (N,) in bits for each pixel of an 8-bit image."""
        nats = self.nats(attempt.error) + torch.stack(attempt.kl).sum(0) / self.pixels
        return (nats - math.log(GREY_LEVEL)) / math.log(2)

    def score(self, batch: Batch) -> Tensor | None:
        """Bits a pixel that held-out images take: the evidence lower bound, without weights."""
        assert batch.image is not None
        return self.bits(self.attempt(batch.image, self.conditioning(batch.condition, batch.augmentation)))

    @torch.no_grad()
    def membership_scores(self, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Minus the squared error of reconstructions, and the evidence lower bound: without noise."""
        error, nats = self._at_the_mean(batch.to(self.device))
        return {"reconstruction": -error, "elbo": -nats}

    def canary_loss(self, batch: Batch) -> Tensor:
        return self._at_the_mean(batch)[1]

    def _at_the_mean(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Squared error, and the negative evidence lower bound in nats a pixel, at the posterior's mean: (N,) each.

        The likelihood has its best variance for each image (Rybkin et al. 2021, section 4.2): that of training is not
        saved.
        """
        assert batch.image is not None
        conditioning = self.conditioning(batch.condition, batch.augmentation)
        latent, posterior = self.prior.infer(self.encoder(batch.image, conditioning), sampled=False)
        error = (self.decoder(latent, conditioning) - batch.image).square().flatten(1).mean(1)
        kl = torch.stack(self.prior.kl(latent, posterior, conditioning)).sum(0)
        return error, gaussian_nats(error, error.clamp(min=GREY_LEVEL**2)) + kl / self.pixels

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        batch = batch.to(self.device)
        assert batch.image is not None
        conditioning = self.conditioning(batch.condition, batch.augmentation)
        latent, _ = self.prior.infer(self.encoder(batch.image, conditioning), sampled=False)
        return tiles.decode(self.decoder, latent, conditioning, "auto").clamp(-1, 1)

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: LatentSampler) -> Tensor:
        conditioning = self.conditioning(batch.condition.to(self.device))
        # torch's own generator would take no more than the last 32 bits of a seed.
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]

        def noise(shape: tuple[int, ...]) -> Tensor:
            drawn = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
            return torch.from_numpy(drawn).to(self.device)

        dtype = getattr(torch, settings.precision)
        with torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32):
            latent = self.prior.draw(noise, conditioning, settings.temperature)
            return tiles.decode(self.decoder, latent, conditioning, settings.decode_tiles).float().clamp(-1, 1)


def gaussian_nats(error: Tensor, variance: Tensor) -> Tensor:
    """-log of a Gaussian density (N,) for each pixel, from the mean squared error (N,) of the pixels."""
    return 0.5 * (error / variance + variance.log() + math.log(2 * math.pi))
