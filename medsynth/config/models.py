"""A model: its family, its network, how it is trained, and how it is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.section import Count, Fraction, Name, Positive, Strict


class Codec(Strict):
    """A fixed, lossless change of layout before the network: each level halves the resolution."""

    kind: Literal["identity", "pixel_unshuffle", "haar"] = "haar"
    levels: Annotated[int, Field(ge=0, le=4)] = 1


class Augmentation(Strict):
    """Geometric augmentation, told to the network as a condition; flips only where the modality allows them."""

    probability: Fraction = 0.1
    shift: Fraction = 0.06
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 6.0
    scale: Fraction = 0.08


class Training(Strict):
    """The budget and the optimiser. Training ends at `images` or `minutes`, whichever is reached first.

    The averaged weights at `guide_at` of the budget are kept as the weaker model for autoguidance.
    `effective_batch_size` images make one optimiser step; `batch_size` of them go through the network at once.
    """

    images: Count = 100_000
    minutes: Positive | None = None
    effective_batch_size: Count = 32
    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Fraction = 0.05
    decay: Fraction = 0.6
    clip_norm: Positive = 1.0
    ema: Positive = 0.1
    guide_at: Fraction = 0.25
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool | Literal["auto"] = "auto"
    augmentation: Augmentation = Augmentation()
    validate_every: Count = 5_000
    checkpoint_seconds: Positive = 60.0
    patience: Count | None = 5


Levels = Annotated[tuple[Positive, ...], Field(min_length=1)]


class Sampler(Strict):
    """What sampling is told, whatever the family: images at once, and the number format of its networks."""

    batch_size: Count = 64
    precision: Literal["float32", "bfloat16"] = "float32"


class DiffusionSampler(Sampler):
    """How noise becomes an image: the solver, the noise levels of Karras et al. 2022, Eq. 5, and guidance.

    `steps`, `sigma_max` and `sigma_min` have one entry for each stage, from coarse to fine; the last entry serves all
    stages after it. Guidance of either kind acts between two noise levels alone, `guided` (Kynkäänniemi et al. 2024).
    """

    solver: Literal["heun", "dpm_solver"] = "dpm_solver"
    steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (8, 5, 2)
    sigma_max: Levels = (80.0, 20.0)
    sigma_min: Levels = (0.01, 0.03, 0.05)
    rho: Positive = 7.0
    guidance: Annotated[float, Field(ge=0)] = 1.0
    autoguidance: Annotated[float, Field(ge=1)] = 2.0
    guided: tuple[Annotated[float, Field(ge=0)], Positive] = (0.1, 8.0)

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        for stage in range(max(len(self.sigma_max), len(self.sigma_min))):
            high, low = (levels[min(stage, len(levels) - 1)] for levels in (self.sigma_max, self.sigma_min))
            if low >= high:
                raise ValueError(f"sigma_min {low:g} is not below sigma_max {high:g}")
        return self

    @model_validator(mode="after")
    def _guided_is_a_range(self) -> Self:
        if not self.guided[0] < self.guided[1]:
            raise ValueError(f"guided {list(self.guided)} does not rise, expected [lowest, highest] noise level")
        return self


class ConsistencySampler(Sampler):
    """A stage draws at once from pure noise, then again from each of its noise levels in `redraw`, which fall.

    `redraw` has one entry for each stage, from coarse to fine; the last entry serves all stages after it.
    """

    redraw: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1)] = ((3.0, 1.0, 0.3), (1.0,), ())

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        for levels in self.redraw:
            if any(high <= low for high, low in pairwise(levels)):
                raise ValueError(f"redraw {list(levels)} does not fall")
        return self


class Stage(Strict):
    """One denoiser of the cascade: its U-Net's channels, one entry for each resolution, and residual blocks.

    It learns from `share` of every batch: details are many in one image, so that a fine stage needs fewer of them.
    """

    channels: Annotated[tuple[Count, ...], Field(min_length=1)]
    blocks: Count = 1
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Diffusion(Strict):
    """What a diffusion model is trained by: the EDM formulation (Karras et al. 2022) in a cascade of U-Nets.

    `stages` go from coarse to fine; each after the first doubles the resolution.
    """

    sampled_by: ClassVar[type[Sampler]] = DiffusionSampler

    family: Literal["diffusion"]
    codec: Codec = Codec()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (
        Stage(channels=(128, 192)),
        Stage(channels=(64, 128)),
        Stage(channels=(48, 48), share=0.4),
    )
    condition_dropout: Fraction = 0.1
    coarse_noise: Fraction = 0.05
    p_mean: float = -0.6
    p_std: Positive = 1.3
    whitening: Fraction = 1.0
    training: Training = Training()


class SampledDiffusion(Diffusion):
    """A diffusion model and how it is sampled; a change of the sampler retrains nothing."""

    sampler: DiffusionSampler = DiffusionSampler()

    def trained(self, models: Mapping[str, Model]) -> Diffusion:
        return Diffusion.model_validate(self.model_dump(exclude={"sampler"}))


class Distillation(Training):
    """The budget and the optimiser of a student; `guide_at` is not used."""

    images: Count = 12_000
    effective_batch_size: Count = 16
    learning_rate: Positive = 5e-4
    validate_every: Count = 6_000


class Consistency(Strict):
    """What a student of a diffusion model is trained by (Song et al. 2023).

    `taught` is the teacher's sampler: its guidance and noise levels, in the steps that the student learns to leave out.
    """

    sampled_by: ClassVar[type[Sampler]] = ConsistencySampler

    family: Literal["consistency"]
    teacher: Diffusion
    taught: DiffusionSampler
    training: Distillation = Distillation()


class SampledConsistency(Strict):
    """A student of the diffusion model that `teacher` names, which draws each stage in a few evaluations.

    It learns where the teacher's sampler leads when it goes in `steps`, one entry for each stage; a stage of one step
    has nothing to learn and keeps the teacher's weights. A change of its own sampler retrains nothing.
    """

    family: Literal["consistency"]
    teacher: Name
    steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (12, 8, 1)
    training: Distillation = Distillation()
    sampler: ConsistencySampler = ConsistencySampler()

    def trained(self, models: Mapping[str, Model]) -> Consistency:
        """What it is trained by.

        Raises:
            ValueError: the teacher is none, or there is nothing to learn from it.
        """
        teacher = models.get(self.teacher)
        if not isinstance(teacher, SampledDiffusion):
            known = [name for name, model in models.items() if isinstance(model, SampledDiffusion)]
            raise ValueError(f"teacher {self.teacher!r} is not a diffusion model, expected one of {known}")
        if set(self.steps[: len(teacher.stages)]) == {1}:
            raise ValueError(f"steps {list(self.steps)} leave nothing to learn, expected more than 1 for a stage")
        for stage, levels in enumerate(self.sampler.redraw):
            highest = teacher.sampler.sigma_max[min(stage, len(teacher.sampler.sigma_max) - 1)]
            if levels and levels[0] >= highest:
                raise ValueError(f"sampler.redraw {list(levels)} is not below the teacher's sigma_max {highest:g}")
        same = {name: field.default for name, field in Sampler.model_fields.items()}  # they change no path
        return Consistency(
            family=self.family,
            teacher=teacher.trained(models),
            taught=teacher.sampler.model_copy(update=same | {"steps": self.steps}),
            training=self.training,
        )


Trained = Annotated[Diffusion | Consistency, Field(discriminator="family")]
Model = Annotated[SampledDiffusion | SampledConsistency, Field(discriminator="family")]
AnySampler = DiffusionSampler | ConsistencySampler
