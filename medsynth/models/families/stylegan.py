"""A style-based GAN: a generator draws an image by one call, a discriminator sees it beside a real one.

Equation and section numbers are of Huang et al. 2024, "The GAN is dead; long live the GAN!".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.conditions.schema import Condition
from medsynth.config.families.stylegan import Stylegan, StyleganSampler
from medsynth.config.family import Family
from medsynth.errors import InputError
from medsynth.models.contract import AUGMENTATION_FEATURES, Batch, GenerativeModel, ImageSpec, Phase
from medsynth.models.stylegan.augmentation import augmented_pairs
from medsynth.models.stylegan.discriminator import Discriminator
from medsynth.models.stylegan.energy import described, energy_distance
from medsynth.models.stylegan.generator import Conditioning, StyleMapping, Synthesis, whole_and_part
from medsynth.models.stylegan.layers import averaged_down, upsample

MAP_SCALE = 3.0  # lesions cover little of the planes
FADING = 0.5  # share of the time at a resolution in which the next one fades in
MEAN_STYLES = 64  # drawn to find the mean style of a condition
BETAS = (0.0, 0.99)


class StyleganModel(GenerativeModel):
    """A mapping from noise and condition to styles, a synthesis from styles to images, and a discriminator."""

    averaged = ("mapping", "synthesis")
    phases = (
        Phase("discriminator", ("discriminator",), betas=BETAS),
        Phase("generator", ("mapping", "synthesis"), learning_rate=2.0, betas=BETAS),
    )

    def __init__(self, settings: Stylegan, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(spec)
        if reason := settings.misfit(spec.size):
            raise InputError(reason)
        self.settings = settings
        self.mapping = StyleMapping(settings, spec)
        self.synthesis = Synthesis(settings, spec)
        self.discriminator = Discriminator(settings, spec)
        self.term_weights = {"spread": 0.0}

    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        """Nothing is fixed before it learns."""

    def networks(self) -> list[nn.Module]:
        return [self.mapping, self.synthesis]

    @property
    def finest(self) -> int:
        return len(self.settings.channels) - 1

    def reach(self, progress: float) -> float:
        """The finest resolution that is trained, counted from 0, and how far the next one has faded in."""
        if progress >= self.settings.progressive_growing:
            return float(self.finest)
        last, part = whole_and_part(self.finest * progress / self.settings.progressive_growing)
        return last + max(0.0, (part - FADING) / (1 - FADING))

    def conditioning(self, condition: Condition, augmentation: Tensor | None = None) -> Conditioning:
        """What the networks are told of a condition."""
        planes = MAP_SCALE * self.spec.conditions.draw(condition, self.spec.size)
        if augmentation is None:
            augmentation = planes.new_zeros(len(condition), AUGMENTATION_FEATURES[self.spec.spatial_dims])
        return Conditioning(condition, planes, augmentation)

    def real(self, image: Tensor, reach: float) -> Tensor:
        """Images at the resolution that is reached, with details as far as they have faded in (Karras et al. 2018)."""
        last, faded = whole_and_part(reach)
        image = averaged_down(image, self.finest - last - (faded > 0))
        return torch.lerp(upsample(averaged_down(image, 1)), image, faded) if faded else image

    def draw(self, conditioning: Conditioning, reach: float, style_mixing: float = 0.0) -> Tensor:
        """Images of random styles, at the resolution that is reached."""
        count, levels, device = len(conditioning.condition), self.finest + 1, conditioning.planes.device
        style = self._random_style(conditioning)
        styles = style[:, None].expand(-1, levels, -1)
        if style_mixing and levels > 1:
            first = torch.randint(1, levels, (count, 1), device=device)
            mixed = torch.rand(count, 1, device=device) < style_mixing
            second = mixed & (torch.arange(levels, device=device) >= first)
            styles = torch.where(second[:, :, None], self._random_style(conditioning)[:, None], styles)
        noises = tuple(torch.randn(count, *shape, device=device) for shape in self.synthesis.noise_shapes())
        return self.synthesis(styles, noises, conditioning, reach)

    def _random_style(self, conditioning: Conditioning) -> Tensor:
        latent = torch.randn(len(conditioning.condition), self.settings.latent_dim, device=conditioning.planes.device)
        return self.mapping(latent, conditioning)

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The relativistic pairing loss (Eq. 2) of the discriminator, with its penalties, or of the generator."""
        reach = self.reach(batch.progress)
        image = batch.image
        assert image is not None
        dropping = torch.rand(len(batch), len(self.spec.conditions.drops) + 1, device=image.device)
        condition = self.spec.conditions.drop(batch.condition, self.settings.condition_dropout, dropping)
        conditioning = self.conditioning(condition, batch.augmentation)
        of_generator = phase == "generator"
        with torch.set_grad_enabled(of_generator):
            drawn = self.draw(conditioning, reach, self.settings.style_mixing)
        planes = averaged_down(conditioning.planes, self.finest - math.ceil(reach))
        real = self.real(image, reach)
        images, planes = augmented_pairs([real, drawn], planes, self.settings.discriminator_augmentation)
        seen = Conditioning(condition, planes, conditioning.augmentation)
        if of_generator:
            with without_gradients(self.discriminator):
                with torch.no_grad():
                    scores_real = self.discriminator(images[:1], seen, reach)[0]
                scores_drawn = self.discriminator(images[1:], seen, reach)[0]
            spread = differences(drawn) / differences(real)
            return {"generator": F.softplus(scores_real - scores_drawn), "spread": spread}
        scores_real, scores_drawn = self.discriminator(images, seen, reach)
        terms = {"discriminator": F.softplus(scores_drawn - scores_real)}
        gamma = self._gamma(batch.progress)
        if gamma:
            count = max(1, round(self.settings.penalty_share * len(batch)))
            of_first = Conditioning(condition[:count], planes[:count], conditioning.augmentation[:count])
            penalty = self._penalty([each[:count] for each in images], of_first, reach)
            terms["penalty"] = F.pad(gamma / 2 * penalty * len(batch) / count, (0, len(batch) - count))
        return terms

    def _gamma(self, progress: float) -> float:
        start, end = self.settings.gamma
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2

    def _penalty(self, images: list[Tensor], conditioning: Conditioning, reach: float) -> Tensor:
        """Squared norms (N,) of the discriminator's gradients by real and drawn images, R1 + R2 (Eq. 3 and 4).

        Its minibatch deviation is that of these images alone.
        """
        with torch.autocast(images[0].device.type, enabled=False):
            images = [image.detach().float().requires_grad_(True) for image in images]
            # Not by a call of the module: a compiled one has no second derivatives.
            scores = self.discriminator.forward(images, conditioning, reach)
            gradients = torch.autograd.grad(scores.sum(), images, create_graph=True)
            return torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0)

    def score(self, batch: Batch) -> Tensor | None:
        """Energy distance of drawn images from real ones; None as long as the finest resolution is not trained."""
        reach = self.reach(batch.progress)
        if reach < self.finest:
            return None
        assert batch.image is not None
        drawn = self.draw(self.conditioning(batch.condition, batch.augmentation), reach)
        return energy_distance(*described(batch.image, drawn.float(), self.finest + 1))

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: StyleganSampler) -> Tensor:
        conditioning = self.conditioning(batch.condition.to(self.device))
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]

        def normal(*shape: int) -> Tensor:
            drawn = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
            return torch.from_numpy(drawn).to(self.device)

        latent = normal(self.settings.latent_dim)
        noises = tuple(normal(*shape) for shape in self.synthesis.noise_shapes())
        dtype = getattr(torch, settings.precision)
        with torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32):
            style = self.mapping(latent, conditioning).float()
            if settings.truncation != 1:
                style = torch.lerp(self.mean_style(conditioning), style, settings.truncation)
            styles = style[:, None].expand(-1, self.finest + 1, -1)
            return self.synthesis(styles, noises, conditioning, float(self.finest)).float().clamp(-1, 1)

    def mean_style(self, conditioning: Conditioning) -> Tensor:
        """(N, S) over the same latents for every condition."""
        latents = np.random.default_rng(0).standard_normal((MEAN_STYLES, self.settings.latent_dim), np.float32)
        drawn = torch.from_numpy(latents).to(self.device)
        count = len(conditioning.condition)
        return torch.stack([self.mapping(latent.expand(count, -1), conditioning).float() for latent in drawn]).mean(0)


@contextmanager
def without_gradients(network: nn.Module) -> Iterator[None]:
    """What the block computes has no gradient by the network's weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def differences(images: Tensor) -> Tensor:
    """(N,) mean absolute difference of each image from the next one of the batch: falls where a generator collapses."""
    with torch.no_grad():
        return (images - images.roll(1, 0)).abs().flatten(1).mean(1) + 1e-6
