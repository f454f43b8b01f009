"""A cascade of denoisers over a wavelet pyramid, from coarse to fine (Ho et al. 2022; Guth et al. 2022).

The first stage draws the image averaged down; each later one draws, given the coarser image, the details that double
its resolution. What a stage is asked for is nearly settled by what it is given, so that small networks and few steps
are enough, and most of the work is done where the image is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth import config
from medsynth.augmentation import AUGMENTATION_FEATURES
from medsynth.codecs import Pyramid
from medsynth.conditions import Condition
from medsynth.errors import InputError
from medsynth.models import GenerativeModel, ImageSpec
from medsynth.models.denoiser import Denoiser, Given, Moments, append_dims
from medsynth.models.solvers import SOLVERS, Denoise, noise_levels, schedule

MAP_SCALE = 3.0  # lesions cover little of the map; set on one pair of short runs, whose intervals overlap


class DiffusionModel(GenerativeModel):
    """One denoiser for each level of the pyramid, each trained in its turn on every batch."""

    def __init__(self, settings: config.Diffusion, spec: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        self.spec = spec
        self.pyramid = Pyramid(settings.codec, len(settings.stages), spec.channels, spec.spatial_dims)
        for stage, factor in zip(settings.stages, self.pyramid.factors, strict=True):
            step = factor * 2 ** (len(stage.channels) - 1)
            if any(extent % step for extent in spec.size):
                raise InputError(
                    f"size {list(spec.size)} is not divisible by {step}, which a stage of {len(stage.channels)} "
                    f"resolutions, the first 1/{factor} of the image's, needs: take fewer of them, or fewer stages"
                )
        self.stages = nn.ModuleList(
            Denoiser(settings, stage, spec, bands, spec.channels if index else 0)
            for index, (stage, bands) in enumerate(zip(settings.stages, self.pyramid.bands, strict=True))
        )
        self.players = self.judged = tuple(f"stages.{index}" for index in range(len(self.stages)))

    @torch.no_grad()
    def fit_statistics(self, blocks: Iterable[Tensor]) -> None:
        of_bands, of_coarse = ([Moments() for _ in self.stages] for _ in range(2))
        for block in blocks:
            for index, (bands, coarse) in enumerate(self.pyramid.encode(block)):
                of_bands[index].add(bands)
                if coarse is not None:
                    of_coarse[index].add(coarse)
        for stage, *moments in zip(self.stages, of_bands, of_coarse, strict=True):
            stage.set_statistics(*moments)

    def given(
        self, index: int, condition: Condition, augmentation: Tensor, coarse: Tensor | None, noise: Tensor | None = None
    ) -> Given:
        """What a stage is told.

        Args:
            coarse: (N, C, *spatial) the image that the stages before it made.
            noise: what is added to the coarser image, in its standard deviations.
        """
        planes = self.spec.conditions.draw(condition, self.spec.size)
        for axis in range(2, planes.ndim):
            planes = planes.unflatten(axis, (-1, self.pyramid.factors[index])).mean(axis + 1)
        planes = MAP_SCALE * planes
        if coarse is not None:
            stage = self.stages[index]
            scaled = (coarse - stage.coarse_mean) / stage.coarse_scale
            planes = torch.cat([scaled if noise is None else scaled + noise, planes], 1)
        return Given(condition, planes, augmentation)

    def loss(self, image: Tensor, condition: Condition, augmentation: Tensor, player: str) -> dict[str, Tensor]:
        index = self.players.index(player)
        seen = max(1, round(self.settings.stages[index].share * len(image)))
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 would round what is to be learnt
            bands, coarse = self.pyramid.encode(image[:seen])[index]
        dropping = torch.rand(seen, len(self.spec.conditions.groups) + 1, device=image.device)
        condition = self.spec.conditions.drop(condition[:seen], self.settings.condition_dropout, dropping)
        noise = None
        if coarse is not None:  # against the errors of the stages before it (Ho et al. 2022, section 4)
            level = self.settings.coarse_noise * torch.rand(seen, device=image.device)
            noise = append_dims(level, coarse.ndim) * torch.randn_like(coarse)
        losses = self.stages[index].loss(bands, self.given(index, condition, augmentation[:seen], coarse, noise))
        # What the stage did not see counts as nothing, what it saw for as much as the whole batch.
        return {f"stage_{index + 1}": F.pad(losses * (len(image) / seen), (0, len(image) - seen))}

    @torch.no_grad()
    def sample(self, condition: Condition, seeds: Sequence[int], settings: config.DiffusionSampler) -> Tensor:
        device = next(self.parameters()).device
        condition = condition.to(device)
        # torch's own generator would take no more than the last 32 bits of a seed.
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        coarse: Tensor | None = None
        for index, bands in enumerate(self.pyramid.bands):
            shape = (bands, *(extent // self.pyramid.factors[index] for extent in self.spec.size))
            drawn = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
            noise = torch.from_numpy(drawn).to(device)
            levels = noise_levels(*schedule(settings, index), settings.rho)  # on the CPU: no wait to read one
            denoise = self._guided(index, condition, coarse, settings)
            latent = SOLVERS[settings.solver](denoise, noise * levels[0], levels)
            coarse = self.pyramid.decode(self.stages[index].to_bands(latent), coarse).clamp(-1, 1)
        assert coarse is not None
        return coarse

    def _guided(
        self, index: int, condition: Condition, coarse: Tensor | None, settings: config.DiffusionSampler
    ) -> Denoise:
        count, device = len(condition), condition.values.device
        none = torch.zeros(count, AUGMENTATION_FEATURES[self.spec.spatial_dims], device=device)
        stage, guide = self.stages[index], self.guide
        given = self.given(index, condition, none, coarse)
        if settings.autoguidance != 1 and guide is None:
            raise InputError("sampler.autoguidance: the model has no early state to be guided by")
        if settings.guidance != 1:
            unconditional = self.given(index, self.spec.conditions.nothing(count).to(device), none, coarse)

        low, high = settings.guided
        dtype = getattr(torch, settings.precision)

        @torch.autocast(device.type, dtype, enabled=dtype is not torch.float32)
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            within = low <= float(sigma) <= high
            sigma = sigma.to(device).expand(len(x))
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
