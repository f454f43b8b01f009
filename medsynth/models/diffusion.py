"""A cascade of denoisers over a wavelet pyramid, from coarse to fine (Ho et al. 2022; Guth et al. 2022).

The first stage draws the image averaged down; each later one draws, given the coarser image, the details that double
its resolution. What a stage is asked for is nearly settled by what it is given, so that small networks and few steps
are enough, and most of the work is done where the image is small.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth import config
from medsynth.augmentation import AUGMENTATION_FEATURES
from medsynth.codecs import Pyramid
from medsynth.conditions import Condition
from medsynth.errors import InputError
from medsynth.models import GenerativeModel, ImageSpec
from medsynth.models.denoiser import Denoiser, Given, append_dims
from medsynth.models.solvers import SOLVERS, Denoise, noise_levels

MAP_SCALE = 3.0  # lesions cover little of the map; set on one pair of short runs, whose intervals overlap


class DiffusionModel(GenerativeModel):
    """One denoiser for each level of the pyramid, all trained on every batch."""

    players = ("stages",)

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
        drawn = spec.conditions.map_channels
        self.stages = nn.ModuleList(
            Denoiser(settings, stage, spec, bands, drawn + (spec.channels if index else 0))
            for index, (stage, bands) in enumerate(zip(settings.stages, self.pyramid.bands, strict=True))
        )

    def networks(self) -> list[nn.Module]:
        return list(self.stages)

    @torch.no_grad()
    def fit_statistics(self, images: Tensor) -> None:
        for stage, (bands, _) in zip(self.stages, self.pyramid.encode(images), strict=True):
            stage.fit_statistics(bands)

    def given(self, index: int, condition: Condition, augmentation: Tensor, coarse: Tensor | None) -> Given:
        """What the stage is told; `coarse` is the (N, C, *spatial) image that the stages before it made."""
        planes = self.spec.conditions.draw(condition, self.spec.size)
        for axis in range(2, planes.ndim):
            planes = planes.unflatten(axis, (-1, self.pyramid.factors[index])).mean(axis + 1)
        planes = MAP_SCALE * planes
        return Given(condition, planes if coarse is None else torch.cat([coarse, planes], 1), augmentation)

    def loss(self, image: Tensor, condition: Condition, augmentation: Tensor, player: str) -> dict[str, Tensor]:
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 would round what is to be learnt
            pyramid = self.pyramid.encode(image)
        dropping = torch.rand(len(image), len(self.spec.conditions.groups) + 1, device=image.device)
        condition = self.spec.conditions.drop(condition, self.settings.condition_dropout, dropping)
        terms = {}
        for index, (stage, (bands, coarse)) in enumerate(zip(self.stages, pyramid, strict=True)):
            count = max(1, round(self.settings.stages[index].share * len(image)))
            bands, told = bands[:count], (condition[:count], augmentation[:count])
            if coarse is not None:  # noise against the errors of the stages before it (Ho et al. 2022, section 4)
                level = self.settings.coarse_noise * torch.rand(count, device=image.device)
                coarse = coarse[:count]
                coarse = coarse + append_dims(level, coarse.ndim) * torch.randn_like(coarse)
            losses = stage.loss(bands, self.given(index, *told, coarse))
            # What the stage did not see counts as nothing, what it saw for as much as the whole batch.
            terms[f"stage_{index + 1}"] = F.pad(losses * (len(image) / count), (0, len(image) - count))
        return terms

    @torch.no_grad()
    def sample(self, condition: Condition, seeds: Sequence[int], settings: config.DiffusionSampler) -> Tensor:
        device = next(self.parameters()).device
        condition = condition.to(device)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        coarse: Tensor | None = None
        for index, bands in enumerate(self.pyramid.bands):
            shape = (bands, *(extent // self.pyramid.factors[index] for extent in self.spec.size))
            noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
            levels = noise_levels(*settings.schedule(index), settings.rho).to(device)
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

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            within = low <= float(sigma) <= high
            sigma = sigma.expand(len(x))
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
