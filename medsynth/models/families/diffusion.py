"""A cascade of denoisers over a wavelet pyramid, from coarse to fine (Ho et al. 2022; Guth et al. 2022).

The first stage draws the image averaged down; each later one draws, given the coarser image, the details that double
its resolution. What a stage is asked for is nearly settled by what it is given, so that small networks and few steps
are enough, and most of the work is done where the image is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from medsynth.conditions.schema import Condition
from medsynth.config.base_model import DETAILS, INITIAL
from medsynth.config.families.diffusion import Diffusion, DiffusionSampler
from medsynth.config.family import Family
from medsynth.errors import InputError
from medsynth.models.conditioning import MAP_SCALE
from medsynth.models.contract import AUGMENTATION_FEATURES, Batch, GenerativeModel, ImageSpec, Phase, Place
from medsynth.models.diffusion.critic import DetailCritic
from medsynth.models.diffusion.denoiser import Denoiser, Given, Moments, append_dims, over_batch
from medsynth.models.diffusion.guidance import Push, breaks, guided
from medsynth.models.diffusion.holding import Holding
from medsynth.models.diffusion.memorisation import membership_scores
from medsynth.models.diffusion.solvers import SOLVERS, Denoise, noise_levels, schedule
from medsynth.models.diffusion.windows import in_windows, random_window, with_positions
from medsynth.models.inheritance import Channels, inherit
from medsynth.models.losses.terms import Terms
from medsynth.models.stylegan.augmentation import augmented_pairs
from medsynth.models.wavelets import Codec, Pyramid

Noise = Callable[[], Tensor]  # standard normal, of a stage's shape, from each image's own seed
Draw = Callable[[int, Tensor | None, Noise], Tensor]


class DiffusionModel(GenerativeModel):
    """One denoiser for each level of the pyramid, each trained in its turn on every batch."""

    averaged = ("stages",)
    keeps_guide = True
    holds = True

    def __init__(self, settings: Diffusion, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(spec)
        if reason := settings.misfit(spec.size):
            raise InputError(reason)
        self.settings = settings
        codec = Codec(settings.codec.kind, settings.codec.levels, spec.channels, spec.spatial_dims)
        self.settings_of_stages = stages = settings.stages_of(spec.size)
        self.pyramid = Pyramid(codec, len(stages), settings.codec.colour == "opponents")
        self.stages = nn.ModuleList(
            Denoiser(settings, stage, spec, bands, spec.channels if index else 0)
            for index, (stage, bands) in enumerate(zip(stages, self.pyramid.bands, strict=True))
        )
        self.of_stages = tuple(Phase(f"stage_{n + 1}", (f"stages.{n}",)) for n in range(len(self.stages)))
        self.phases: tuple[Phase, ...] = self.of_stages
        if adversarial := settings.adversarial:
            planes = spec.channels + spec.conditions.map_channels + stages[-1].positions * spec.spatial_dims
            self.critic = DetailCritic(spec.spatial_dims, self.pyramid.bands[-1], planes, adversarial.channels)
            self.phases += (Phase("critic", ("critic",), betas=(0.0, 0.99), start=adversarial.start),)
        self.terms = Terms(settings.losses, spec)
        self.term_weights = {
            f"{phase.name}_{name}": loss.weight for phase in self.of_stages for name, loss in settings.losses.items()
        }
        if adversarial:
            self.term_weights |= {f"{self.of_stages[-1].name}_adversarial": adversarial.weight}

    @torch.no_grad()
    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        of_bands, of_coarse = ([Moments() for _ in self.stages] for _ in range(2))
        for block in blocks:
            for index, (bands, coarse) in enumerate(self.pyramid.encode(block)):
                of_bands[index].add(bands)
                if coarse is not None:
                    of_coarse[index].add(coarse)
        for stage, *moments in zip(self.stages, of_bands, of_coarse, strict=True):
            stage.set_statistics(*moments)
        for role, first in ((INITIAL, 0), (DETAILS, 1)):
            if parent := parents.get(role):
                assert isinstance(parent, DiffusionModel)
                stages = self._counterparts(parent, first)
                names = {f"stages.{own}": f"stages.{other}" for own, other in stages.items()}
                inherit(self, parent, role, names, self._shared_channels(parent, stages))

    def train_losses(self, batches: Iterator[Batch], images: int) -> None:
        last = len(self.stages) - 1
        shapes = [tuple(extent // 2 ** (last - index) for extent in self.spec.size) for index in range(last + 1)]
        self.terms.begin(batches, images, shapes)

    def _counterparts(self, parent: DiffusionModel, first: int) -> dict[int, int]:
        """The parent's stage of the same resolution for each stage that has one: details begin from details.

        Args:
            first: the first stage of either model that counts.
        """
        counterparts = {}
        for own in range(first, len(self.stages)):
            fitting = [n for n in range(first, len(parent.stages)) if parent.shape_of(n)[1:] == self.shape_of(own)[1:]]
            same_part = [n for n in fitting if (n == 0) == (own == 0)]  # the average, and the first details
            if fitting:
                counterparts[own] = (same_part or fitting)[0]
        return counterparts

    def _shared_channels(self, parent: DiffusionModel, stages: Mapping[int, int]) -> dict[str, Channels]:
        """Sub-bands and the coarser image of each stage that draws the same in both: of all channels, or of brightness.

        Nothing, where one model is grey and the other has red, green and blue.
        """
        shared: dict[str, Channels] = {}
        if self.spec.channels != parent.spec.channels and not all(
            model.begins_with_brightness for model in (self, parent)
        ):
            return shared
        common = min(self.spec.channels, parent.spec.channels)
        for own, other in stages.items():
            bands, others = (m.pyramid.bands[n] // m.spec.channels for m, n in ((self, own), (parent, other)))
            if (bands, own == 0) != (others, other == 0):
                continue
            drawn = range(common * bands)
            seen = range(common if own else 0)
            inputs = ([*drawn, *(m.spec.channels * bands + n for n in seen)] for m in (self, parent))
            shared[f"stages.{own}.unet.enter.weight"] = Channels(1, *inputs)
            for part in ("weight", "bias"):
                shared[f"stages.{own}.unet.leave.2.{part}"] = Channels(0, drawn, drawn)
        return shared

    @property
    def begins_with_brightness(self) -> bool:
        """Whether the first channel of all that its stages see is brightness."""
        return self.spec.channels == 1 or self.settings.codec.colour == "opponents"

    def shape_of(self, index: int) -> tuple[int, ...]:
        """(bands, *spatial) of a stage's sub-bands."""
        return (self.pyramid.bands[index], *(extent // self.pyramid.factors[index] for extent in self.spec.size))

    def given(self, index: int, batch: Batch, coarse: Tensor | None, coarse_noise: Tensor | None = None) -> Given:
        """What a stage is told.

        Args:
            coarse: (N, C, *spatial) what the stages before it made, as the pyramid gives it.
            coarse_noise: (N,) the noise on it, as a share of its standard deviation; None for no noise.
        """
        planes = self.spec.conditions.draw(batch.condition, self.spec.size)
        for axis in range(2, planes.ndim):
            planes = planes.unflatten(axis, (-1, self.pyramid.factors[index])).mean(axis + 1)
        planes = MAP_SCALE * planes
        if coarse is not None:
            stage = self.stages[index]
            planes = torch.cat([(coarse - stage.coarse_mean) / stage.coarse_scale, planes], 1)
        if self.settings_of_stages[index].positions:
            planes = with_positions(planes)
        augmentation = batch.augmentation
        if augmentation is None:
            augmentation = planes.new_zeros(len(batch), AUGMENTATION_FEATURES[self.spec.spatial_dims])
        if coarse_noise is None:
            coarse_noise = planes.new_zeros(len(batch))
        return Given(batch.condition, planes, augmentation, coarse_noise)

    def lesson(self, batch: Batch, index: int) -> tuple[Batch, Tensor, Tensor | None, Tensor | None]:
        """What a stage learns from, of the first images of the batch alone where it has a `share`.

        Returns:
            The batch with some conditions left out, sub-bands, and the coarser image with its level of noise (N,).
        """
        seen = max(1, round(self.settings_of_stages[index].share * len(batch)))
        batch = batch[:seen]
        image = batch.image
        assert image is not None
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 would round what is to be learnt
            bands, coarse = self.pyramid.encode(image)[index]
        dropping = torch.rand(seen, len(self.spec.conditions.drops) + 1, device=image.device)
        condition = self.spec.conditions.drop(batch.condition, self.settings.condition_dropout, dropping)
        level = None
        if coarse is not None:  # against the errors of the stages before it, and told (Ho et al. 2022, section 4.2)
            level = self.settings.coarse_noise * torch.rand(seen, device=image.device)
            coarse = self.noisy(index, coarse, level, torch.randn_like(coarse))
        return replace(batch, condition=condition), bands, coarse, level

    def noisy(self, index: int, coarse: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """The coarser image (N, C, *spatial) of a stage with noise (N,) as a share of its standard deviation."""
        return coarse + append_dims(level, coarse.ndim) * self.stages[index].coarse_scale * noise

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        if phase == "critic":
            return self._critic_loss(batch)
        return self._loss(batch, phase, in_training=True)

    def score(self, batch: Batch) -> Tensor:
        """The loss on held-out images; without that of a last stage that a discriminator draws away from the mean."""
        phases = self.of_stages[:-1] if self.settings.adversarial else self.of_stages
        return self._of_phases(batch, phases)

    def membership_scores(self, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
        return membership_scores(self, batch.to(self.device), seeds)

    def canary_loss(self, batch: Batch) -> Tensor:
        return self._of_phases(batch, self.of_stages)

    def _of_phases(self, batch: Batch, phases: Sequence[Phase]) -> Tensor:
        return torch.stack([self._loss(batch, each.name, in_training=False)[each.name] for each in phases]).sum(0)

    def _loss(self, batch: Batch, phase: str, in_training: bool) -> dict[str, Tensor]:
        index = self._stage_of(phase)
        seen, bands, coarse, level = self.lesson(batch, index)
        stage = self.stages[index]
        given, window = self.given(index, seen, coarse, level), self._window(index)
        given, bands = given.at(window), bands[window]
        coarse = None if coarse is None else coarse[window]
        latent = stage.to_latent(bands)
        denoised, sigma = stage.attempt(latent, given)
        terms = {phase: stage.error(denoised, latent, sigma)}
        if in_training and self.terms:
            with torch.autocast(bands.device.type, enabled=False):
                image, target = (
                    self.pyramid.to_image(self.pyramid.decode(each, coarse))
                    for each in (stage.to_bands(denoised), bands)
                )
                found = self.terms(image, replace(seen, image=target), sigma)
            terms |= {f"{phase}_{name}": term for name, term in found.items()}
        adversarial = self.settings.adversarial
        if in_training and adversarial and index == len(self.stages) - 1 and batch.progress >= adversarial.start:
            terms[f"{phase}_adversarial"] = self.critic.drawn_loss(*self._judged(latent, given))
        return {name: over_batch(term, len(batch)) for name, term in terms.items()}

    def _window(self, index: int) -> Place:
        """The patch of (N, C, *spatial) that a stage learns from."""
        return random_window(self.settings_of_stages[index], self.shape_of(index)[1:])

    def _critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        adversarial = self.settings.adversarial
        assert adversarial
        index = len(self.stages) - 1
        seen, bands, coarse, level = self.lesson(batch, index)
        given, window = self.given(index, seen, coarse, level), self._window(index)
        with torch.no_grad():
            latent = self.stages[index].to_latent(bands[window])
            judged = self._judged(latent, given.at(window))
        terms = self.critic.own_losses(*judged, adversarial.gamma)
        return {name: over_batch(term, len(batch)) for name, term in terms.items()}

    def _judged(self, latent: Tensor, given: Given) -> tuple[Tensor, Tensor, Tensor]:
        """True and drawn details of the last stage (N, bands, *spatial), and the planes beside them, changed alike."""
        adversarial = self.settings.adversarial
        assert adversarial
        sigma = torch.full([len(latent)], adversarial.level, device=latent.device)
        drawn = self.stages[-1](adversarial.level * torch.randn_like(latent), sigma, given)
        (true, drawn), planes = augmented_pairs([latent, drawn], given.planes.float(), adversarial.augmentation)
        return true, drawn, planes

    def _stage_of(self, phase: str) -> int:
        return [each.name for each in self.of_stages].index(phase)

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: DiffusionSampler) -> Tensor:
        batch = batch.to(self.device)
        holding = self.holding(batch)

        def draw(index: int, coarse: Tensor | None, noise: Noise) -> Tensor:
            levels = noise_levels(*schedule(settings, index), settings.rho)  # on the CPU: no wait to read one
            told = torch.full([len(batch)], settings.coarse_noise, device=self.device)
            denoise, start = self.guided(index, batch, coarse, told, settings), noise() * levels[0]
            if holding:
                denoise, start = holding.denoiser(index, denoise), holding.start(index, start)
            with self.autocast(settings.precision):
                return SOLVERS[settings.solver](denoise, start, levels, breaks(settings, levels))

        return self.descend(seeds, draw, settings.coarse_noise, holding)

    def holding(self, batch: Batch) -> Holding | None:
        """What the stages hold of a batch on the model's device; None where it has no region."""
        if batch.region is None:
            return None
        assert batch.image is not None  # a batch with a region has one
        return Holding(self.pyramid, self.stages, batch.image, batch.region)

    def autocast(self, precision: str) -> torch.autocast:
        """The number format of the networks."""
        dtype = getattr(torch, precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def descend(
        self, seeds: Sequence[int], draw: Draw, coarse_noise: float = 0.0, holding: Holding | None = None
    ) -> Tensor:
        """Draw the stages from coarse to fine: (N, C, *spatial) in [-1, 1].

        Args:
            draw: from a stage, the coarser image and a source of its noise to its latent sub-bands.
            coarse_noise: on the coarser image, as a share of its standard deviation.
            holding: what is held after every stage, and at the end.
        """
        # torch's own generator would take no more than the last 32 bits of a seed.
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        image: Tensor | None = None
        for index in range(len(self.stages)):

            def noise(shape: tuple[int, ...] = self.shape_of(index)) -> Tensor:
                drawn = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
                return torch.from_numpy(drawn).to(self.device)

            seen = image
            if image is not None and coarse_noise:
                level = torch.full([len(seeds)], coarse_noise, device=self.device)
                seen = self.noisy(index, image, level, noise(tuple(image.shape[1:])))
            latent = draw(index, seen, noise)
            image = self.pyramid.clamp(self.pyramid.decode(self.stages[index].to_bands(latent), image))
            image = holding.blend(index, image) if holding else image
        assert image is not None
        image = self.pyramid.to_image(image).clamp(-1, 1)
        return holding.finish(image) if holding else image

    def guided(
        self,
        index: int,
        batch: Batch,
        coarse: Tensor | None,
        coarse_noise: Tensor | None,
        settings: DiffusionSampler,
    ) -> Denoise:
        """One stage as the solvers take it, with guidance where the settings ask for it.

        Raises:
            InputError: autoguidance is asked for, and the model has no early state.
        """
        stage, of_stage = self.stages[index], self.settings_of_stages[index]

        def denoiser(of: nn.Module, condition: Condition) -> Denoise:
            given = self.given(index, replace(batch, condition=condition), coarse, coarse_noise)

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                level = sigma.to(x.device).expand(len(x))
                if not settings.windows:
                    return of(x, level, given)
                return in_windows(lambda place: of(x[place], level, given.at(place)), x, of_stage)

            return denoise

        schema, strengths = self.spec.conditions, settings.guidance
        pushes: list[Push] = []
        if isinstance(strengths, dict):
            pushes += [(w, denoiser(stage, schema.without(batch.condition, field))) for field, w in strengths.items()]
        elif strengths != 1:
            pushes.append((strengths, denoiser(stage, schema.nothing(len(batch)).to(self.device))))
        if settings.autoguidance != 1:
            if self.guide is None:
                raise InputError("sampler.autoguidance: the model has no early state to be guided by")
            pushes.append((settings.autoguidance, denoiser(self.guide.stages[index], batch.condition)))
        return guided(denoiser(stage, batch.condition), pushes, settings)
