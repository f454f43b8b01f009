"""A style-based GAN: a generator draws an image by one call, a discriminator sees it beside a real one.

Equation and section numbers are of Huang et al. 2024, "The GAN is dead; long live the GAN!".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.conditions.schema import Condition
from medsynth.config.base_model import INITIAL
from medsynth.config.families.stylegan import Stylegan, StyleganSampler
from medsynth.config.family import Family
from medsynth.errors import InputError
from medsynth.models.conditioning import Conditioning, conditioning_of
from medsynth.models.contract import Batch, GenerativeModel, ImageSpec, Phase
from medsynth.models.inheritance import Channels, inherit
from medsynth.models.losses.pairing import gradient_penalty, pairing_loss, without_gradients
from medsynth.models.stylegan.augmentation import augmented_pairs
from medsynth.models.stylegan.discriminator import Discriminator
from medsynth.models.stylegan.energy import described, energy_distance
from medsynth.models.stylegan.generator import StyleMapping, Synthesis, whole_and_part
from medsynth.models.stylegan.layers import averaged_down, upsample

FADING = 0.5  # share of the time at a resolution in which the next one fades in
MEAN_STYLES = 64  # drawn to find the mean style of a condition
# Adaptive augmentation (Karras et al. 2020, "Training GANs with limited data", section 3). Its target is a mean sign of
# 0.6 for real images alone. Where the scores of real and of drawn images are normal and alike apart from their sign, as
# many pairs are told apart at 0.77: sqrt(2) * 0.84 standard deviations in place of 0.84.
TOLD_APART = 0.77
RISE = (
    0.1  # share of the budget in which the probability could go from 0 to 1; 0.02 there, of a budget 250 times as large
)
HEEDED = 0.005  # share of the budget whose pairs are averaged
MOST_AUGMENTED = 0.8  # above, drawn images look augmented themselves
BETAS = (0.0, 0.99)
WITHOUT_GRID = tuple(f"discriminator.{part}" for part in ("score", "condition", "augmentation", "project"))
OF_COARSEST = ("synthesis.start", "discriminator.last", "discriminator.features")


class StyleganModel(GenerativeModel):
    """A mapping from noise and condition to styles, a synthesis from styles to images, and a discriminator."""

    averaged = ("mapping", "synthesis", "discriminator")  # the last for models that begin from this one
    scores_its_loss = False
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
        self.term_weights = {"spread": 0.0, "told_apart": 0.0, "augmentation": 0.0}
        self.adaptive = settings.discriminator_augmentation == "adaptive"
        self.probability: Tensor
        self.told_apart: Tensor
        first = 0.0 if self.adaptive else settings.discriminator_augmentation
        self.register_buffer("probability", torch.tensor(first))
        self.register_buffer("told_apart", torch.tensor(0.0))

    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        """Take the weights of an `initial` model; nothing is fixed before it learns."""
        if parent := parents.get(INITIAL):
            assert isinstance(parent, StyleganModel)
            names, shared = counterparts(self, parent)
            inherit(self, parent, INITIAL, names, shared)

    def heed(self, means: Mapping[str, Tensor], spent: float) -> None:
        """Move the probability of augmentation towards where the discriminator tells pairs apart as it should."""
        if self.adaptive and "told_apart" in means:
            self.told_apart.lerp_(means["told_apart"].to(self.told_apart), min(1.0, spent / HEEDED))
            self.probability += (self.told_apart - TOLD_APART).sign() * spent / RISE
            self.probability.clamp_(0, MOST_AUGMENTED)

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
        return conditioning_of(self.spec, condition, augmentation)

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
        images, planes = augmented_pairs([real, drawn], planes, self.probability)
        seen = Conditioning(condition, planes, conditioning.augmentation)
        if of_generator:
            with without_gradients(self.discriminator):
                with torch.no_grad():
                    scores_real = self.discriminator(images[:1], seen, reach)[0]
                scores_drawn = self.discriminator(images[1:], seen, reach)[0]
            spread = differences(drawn) / differences(real)
            return {"generator": pairing_loss(scores_drawn, scores_real), "spread": spread}
        scores_real, scores_drawn = self.discriminator(images, seen, reach)
        terms = {"discriminator": pairing_loss(scores_real, scores_drawn)}
        terms["told_apart"] = (scores_real - scores_drawn).detach().sign()
        if self.adaptive:
            terms["augmentation"] = self.probability.expand(len(batch)).clone()
        gamma = self._gamma(batch.progress)
        if gamma:
            count = max(1, round(self.settings.penalty_share * len(batch)))
            of_first = Conditioning(condition[:count], planes[:count], conditioning.augmentation[:count])
            # Its minibatch deviation is that of these images alone.
            penalty = gradient_penalty(
                lambda parts: self.discriminator.forward(parts, of_first, reach),
                [each[:count] for each in images],
                gamma,
            )
            terms["penalty"] = F.pad(penalty * len(batch) / count, (0, len(batch) - count))
        return terms

    def _gamma(self, progress: float) -> float:
        start, end = self.settings.gamma
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2

    def score(self, batch: Batch) -> Tensor | None:
        """Energy distance of drawn images from real ones; None as long as the finest resolution is not trained."""
        reach = self.reach(batch.progress)
        if reach < self.finest:
            return None
        assert batch.image is not None
        conditioning = self.conditioning(batch.condition, batch.augmentation)
        drawn = self.draw(conditioning, reach).float()
        return energy_distance(
            *described(batch.image, drawn, self.finest + 1, conditioning.condition, conditioning.planes)
        )

    @torch.no_grad()
    def membership_scores(self, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
        """The discriminator's output (Hayes et al. 2019), of each image alone: it compares the images of a batch."""
        batch = batch.to(self.device)
        found = []
        for row in range(len(batch)):
            alone = batch[slice(row, row + 1)]
            assert alone.image is not None
            told = self.conditioning(alone.condition, alone.augmentation)
            found.append(self.discriminator([alone.image], told, float(self.finest))[0])
        return {"discriminator": torch.cat(found)}

    def canary_loss(self, batch: Batch) -> Tensor:
        """The discriminator's own loss: it is what a score is read from."""
        terms = self.loss(replace(batch, progress=1.0), "discriminator")
        return terms["discriminator"] + terms.get("penalty", 0.0)

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: StyleganSampler) -> Tensor:
        conditioning = self.conditioning(batch.condition.to(self.device))
        style, noises = self._seeded(conditioning, seeds, settings)
        return self._image(style[:, None].expand(-1, self.finest + 1, -1), noises, conditioning, settings)

    @torch.no_grad()
    def walk(self, batch: Batch, seeds: Sequence[int], steps: int, settings: StyleganSampler) -> Tensor:
        """Images (steps, C, *spatial) on the way between two samples, the first and the last of which they are.

        Styles, and what is drawn of conditions, are interpolated linearly, noise on a circle, which keeps its variance.

        Args:
            batch: two conditions; seeds: of the two samples.
        Raises:
            InputError: there are not two of each, or less than two steps.
        """
        self._refuse_other_than_two(batch, seeds)
        if steps < 2:
            raise InputError(f"steps: got {steps}, expected at least 2, the samples themselves")
        conditioning = self.conditioning(batch.condition.to(self.device))
        style, noises = self._seeded(conditioning, seeds, settings)
        way = torch.linspace(0, 1, steps, device=self.device)

        def between(ends: Tensor, first: Tensor, second: Tensor) -> Tensor:
            ones = [1] * (ends.ndim - 1)
            return first.view(-1, *ones) * ends[:1] + second.view(-1, *ones) * ends[1:]

        angle = way * math.pi / 2
        noises = tuple(between(noise, angle.cos(), angle.sin()) for noise in noises)
        planes = between(conditioning.planes, 1 - way, way)
        styles = between(style, 1 - way, way)[:, None].expand(-1, self.finest + 1, -1)
        rows = (way >= 0.5).long()
        told = Conditioning(conditioning.condition[rows], planes, conditioning.augmentation[rows])
        return self._image(styles, noises, told, settings)

    @torch.no_grad()
    def mix(self, batch: Batch, seeds: Sequence[int], settings: StyleganSampler) -> Tensor:
        """Images (levels + 1, C, *spatial) with the style of one sample at coarse levels and of another at finer ones.

        Image n has n levels, the coarsest, of the first sample: the last image is the first sample, and image 0 the
        second one, but for lesions and masks, which are where the first has them.

        Args:
            batch: two conditions; seeds: of the two samples.
        Raises:
            InputError: there are not two of each.
        Source: Karras et al. 2019, section 3.1.
        """
        self._refuse_other_than_two(batch, seeds)
        conditioning = self.conditioning(batch.condition.to(self.device))
        style, noises = self._seeded(conditioning, seeds, settings)
        levels = torch.arange(self.finest + 1, device=self.device)
        of_second = (levels >= torch.arange(self.finest + 2, device=self.device)[:, None]).long()  # (images, levels)
        of_noises = [of_second[:, number] for number in self.synthesis.noise_levels()]
        noises = tuple(noise[rows] for noise, rows in zip(noises, of_noises, strict=True))
        first = torch.zeros(self.finest + 2, dtype=torch.long, device=self.device)
        told = conditioning[first]
        return self._image(style[of_second], noises, told, settings)

    def _refuse_other_than_two(self, batch: Batch, seeds: Sequence[int]) -> None:
        if not len(batch) == len(seeds) == 2:
            raise InputError(f"got {len(batch)} conditions and {len(seeds)} seeds, expected 2 of each")

    def _seeded(
        self, conditioning: Conditioning, seeds: Sequence[int], settings: StyleganSampler
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The style (N, S) and the noise (N, 1, *grid) of each layer, of N images, each from its own seed."""
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]

        def normal(*shape: int) -> Tensor:
            drawn = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
            return torch.from_numpy(drawn).to(self.device)

        latent = normal(self.settings.latent_dim)
        noises = tuple(normal(*shape) for shape in self.synthesis.noise_shapes())
        with self._autocast(settings):
            style = self.mapping(latent, conditioning).float()
            if settings.truncation != 1:
                style = torch.lerp(self.mean_style(conditioning), style, settings.truncation)
        return style, noises

    def _image(
        self, styles: Tensor, noises: tuple[Tensor, ...], conditioning: Conditioning, settings: StyleganSampler
    ) -> Tensor:
        with self._autocast(settings):
            return self.synthesis(styles, noises, conditioning, float(self.finest)).float().clamp(-1, 1)

    def _autocast(self, settings: StyleganSampler) -> torch.autocast:
        dtype = getattr(torch, settings.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def mean_style(self, conditioning: Conditioning) -> Tensor:
        """(N, S) over the same latents for every condition."""
        latents = np.random.default_rng(0).standard_normal((MEAN_STYLES, self.settings.latent_dim), np.float32)
        drawn = torch.from_numpy(latents).to(self.device)
        count = len(conditioning.condition)
        return torch.stack([self.mapping(latent.expand(count, -1), conditioning).float() for latent in drawn]).mean(0)


def counterparts(child: StyleganModel, parent: StyleganModel) -> tuple[dict[str, str], dict[str, Channels]]:
    """What `inherit` takes of a parent: layers at the resolutions where both have as many channels, and the others.

    Where the two are told of other lesions or masks, convolutions share their other inputs.
    """
    widths = zip(parent.synthesis.grids, parent.settings.channels, strict=True)
    known = {both: level for level, both in enumerate(widths)}
    widths = zip(child.synthesis.grids, child.settings.channels, strict=True)
    shared = {level: known[both] for level, both in enumerate(widths) if both in known}
    own, other = child.discriminator, parent.discriminator
    names, channels = {}, {}
    if child.settings.latent_dim == parent.settings.latent_dim:
        names["mapping"] = "mapping"
    if child.settings.channels[0] == parent.settings.channels[0]:
        names |= {path: path for path in WITHOUT_GRID}
    if shared.get(0) == 0:
        names |= {path: path for path in OF_COARSEST}
    for level, of_parent in shared.items():
        names[f"synthesis.levels.{level}"] = f"synthesis.levels.{of_parent}"
        width = range(child.settings.channels[level])
        channels[f"synthesis.levels.{level}.refine.conv.conv.weight"] = Channels(1, width, width)
        if shared.get(level - 1, -1) == of_parent - 1 >= 0:
            names[f"discriminator.halve.{level - 1}"] = f"discriminator.halve.{of_parent - 1}"
        if level >= own.first and of_parent >= other.first and child.spec.channels == parent.spec.channels:
            enter, bands = f"discriminator.enter.{level - own.first}", range(own.haar.channels)
            names[enter] = f"discriminator.enter.{of_parent - other.first}"
            channels[f"{enter}.weight"] = Channels(1, bands, bands)
    return names, channels


def differences(images: Tensor) -> Tensor:
    """(N,) mean absolute difference of each image from the next one of the batch: falls where a generator collapses."""
    with torch.no_grad():
        return (images - images.roll(1, 0)).abs().flatten(1).mean(1) + 1e-6
