"""A cascade of denoisers over a wavelet pyramid, from coarse to fine (Ho et al. 2022; Guth et al. 2022).

The first stage draws the image averaged down; each later one draws, given the coarser image, the details that double
its resolution. What a stage is asked for is nearly settled by what it is given, so that small networks and few steps
are enough, and most of the work is done where the image is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth import config
from medsynth.conditions.kind import Condition
from medsynth.config.resolutions import misfit
from medsynth.errors import InputError
from medsynth.models.augmentation import AUGMENTATION_FEATURES
from medsynth.models.contract import GenerativeModel, ImageSpec
from medsynth.models.denoiser import Denoiser, Given, Moments, append_dims
from medsynth.models.solvers import SOLVERS, Denoise, noise_levels, schedule
from medsynth.models.wavelets import Pyramid

Noise = Callable[[], Tensor]  # standard normal, of a stage's shape, from each image's own seed
Draw = Callable[[int, Tensor | None, Noise], Tensor]

MAP_SCALE = 3.0  # lesions cover little of the map; set on one pair of short runs, whose intervals overlap


class DiffusionModel(GenerativeModel):
    """One denoiser for each level of the pyramid, each trained in its turn on every batch."""

    keeps_guide = True

    def __init__(self, settings: config.Diffusion, spec: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        self.spec = spec
        self.pyramid = Pyramid(settings, spec.channels, spec.spatial_dims)
        if reason := misfit(settings, spec.size):
            raise InputError(reason)
        self.stages = nn.ModuleList(
            Denoiser(settings, stage, spec, bands, spec.channels if index else 0)
            for index, (stage, bands) in enumerate(zip(settings.stages, self.pyramid.bands, strict=True))
        )
        self.players = self.judged = tuple(f"stages.{index}" for index in range(len(self.stages)))

    @torch.no_grad()
    def begin(self, blocks: Iterable[Tensor], teacher: GenerativeModel | None) -> None:
        if teacher is not None:
            raise InputError("a diffusion model learns from images alone, got a teacher")
        of_bands, of_coarse = ([Moments() for _ in self.stages] for _ in range(2))
        for block in blocks:
            for index, (bands, coarse) in enumerate(self.pyramid.encode(block)):
                of_bands[index].add(bands)
                if coarse is not None:
                    of_coarse[index].add(coarse)
        for stage, *moments in zip(self.stages, of_bands, of_coarse, strict=True):
            stage.set_statistics(*moments)

    def given(self, index: int, condition: Condition, augmentation: Tensor, coarse: Tensor | None) -> Given:
        """What a stage is told; `coarse` (N, C, *spatial) is the image that the stages before it made."""
        planes = self.spec.conditions.draw(condition, self.spec.size)
        for axis in range(2, planes.ndim):
            planes = planes.unflatten(axis, (-1, self.pyramid.factors[index])).mean(axis + 1)
        planes = MAP_SCALE * planes
        if coarse is not None:
            stage = self.stages[index]
            planes = torch.cat([(coarse - stage.coarse_mean) / stage.coarse_scale, planes], 1)
        return Given(condition, planes, augmentation)

    def lesson(self, image: Tensor, condition: Condition, index: int) -> tuple[Tensor, Condition, Tensor | None]:
        """What a stage learns from: sub-bands, conditions of which some are left out, and a noisy coarser image.

        They are of the first images of the batch alone, where the stage has a `share`.
        """
        seen = max(1, round(self.settings.stages[index].share * len(image)))
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 would round what is to be learnt
            bands, coarse = self.pyramid.encode(image[:seen])[index]
        dropping = torch.rand(seen, len(self.spec.conditions.drops) + 1, device=image.device)
        condition = self.spec.conditions.drop(condition[:seen], self.settings.condition_dropout, dropping)
        if coarse is not None:  # against the errors of the stages before it (Ho et al. 2022, section 4)
            level = append_dims(self.settings.coarse_noise * torch.rand(seen, device=image.device), coarse.ndim)
            coarse = coarse + level * self.stages[index].coarse_scale * torch.randn_like(coarse)
        return bands, condition, coarse

    def loss(self, image: Tensor, condition: Condition, augmentation: Tensor, player: str) -> dict[str, Tensor]:
        index = self.players.index(player)
        bands, condition, coarse = self.lesson(image, condition, index)
        given = self.given(index, condition, augmentation[: len(bands)], coarse)
        return {f"stage_{index + 1}": over_batch(self.stages[index].loss(bands, given), len(image))}

    @torch.no_grad()
    def sample(self, condition: Condition, seeds: Sequence[int], settings: config.DiffusionSampler) -> Tensor:
        condition = condition.to(self.device)

        def draw(index: int, coarse: Tensor | None, noise: Noise) -> Tensor:
            levels = noise_levels(*schedule(settings, index), settings.rho)  # on the CPU: no wait to read one
            none = self.no_augmentation(len(seeds))
            denoise = self.guided(index, condition, none, coarse, settings)
            with self.autocast(settings.precision):
                return SOLVERS[settings.solver](denoise, noise() * levels[0], levels)

        return self.descend(seeds, draw)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def no_augmentation(self, count: int) -> Tensor:
        """(count, A): images that are as they were."""
        return torch.zeros(count, AUGMENTATION_FEATURES[self.spec.spatial_dims], device=self.device)

    def autocast(self, precision: str) -> torch.autocast:
        """The number format of the networks."""
        dtype = getattr(torch, precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def descend(self, seeds: Sequence[int], draw: Draw) -> Tensor:
        """Draw the stages from coarse to fine: (N, C, *spatial) in [-1, 1].

        Args:
            draw: from a stage, the coarser image and a source of its noise to its latent sub-bands.
        """
        # torch's own generator would take no more than the last 32 bits of a seed.
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        image: Tensor | None = None
        for index, bands in enumerate(self.pyramid.bands):
            shape = (bands, *(extent // self.pyramid.factors[index] for extent in self.spec.size))

            def noise(shape: tuple[int, ...] = shape) -> Tensor:
                drawn = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
                return torch.from_numpy(drawn).to(self.device)

            latent = draw(index, image, noise)
            image = self.pyramid.decode(self.stages[index].to_bands(latent), image).clamp(-1, 1)
        assert image is not None
        return image

    def guided(
        self,
        index: int,
        condition: Condition,
        augmentation: Tensor,
        coarse: Tensor | None,
        settings: config.DiffusionSampler,
    ) -> Denoise:
        """One stage as the solvers take it, with guidance where the settings ask for it.

        Raises:
            InputError: autoguidance is asked for, and the model has no early state.
        """
        stage, guide = self.stages[index], self.guide
        given = self.given(index, condition, augmentation, coarse)
        if settings.autoguidance != 1 and guide is None:
            raise InputError("sampler.autoguidance: the model has no early state to be guided by")
        if settings.guidance != 1:
            nothing = self.spec.conditions.nothing(len(condition)).to(self.device)
            unconditional = self.given(index, nothing, augmentation, coarse)
        low, high = settings.guided

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            within = low <= float(sigma) <= high
            sigma = sigma.to(x.device).expand(len(x))
            guided = stage(x, sigma, given)
            if not within:
                return guided
            if settings.guidance != 1:
                free = stage(x, sigma, unconditional)
                guided = free + settings.guidance * (guided - free)  # Ho & Salimans 2022, Eq. 6
            if settings.autoguidance != 1:
                assert guide is not None
                weak = guide.stages[index](x, sigma, given)
                guided = weak + settings.autoguidance * (guided - weak)  # Karras et al. 2024b, Eq. 3
            return guided

        return denoise


def over_batch(losses: Tensor, count: int) -> Tensor:
    """(count,) of the first images' losses: what was not seen counts as nothing, what was seen for the whole batch."""
    return F.pad(losses * (count / len(losses)), (0, count - len(losses)))
