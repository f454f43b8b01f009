"""A model: its family, its network, how it is trained, and how it is sampled."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.section import Count, Fraction, Positive, Strict


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
    effective_batch_size: Count = 16
    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 2e-3
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


Steps = Annotated[int, Field(ge=2)]
Levels = Annotated[tuple[Positive, ...], Field(min_length=1)]


class DiffusionSampler(Strict):
    """How noise becomes an image: the solver, the noise levels of Karras et al. 2022, Eq. 5, and guidance.

    `steps`, `sigma_max` and `sigma_min` have one entry for each stage, from coarse to fine; the last entry serves all
    stages after it. Guidance of either kind acts between two noise levels alone, `guided` (Kynkäänniemi et al. 2024).
    """

    solver: Literal["heun", "dpm_solver"] = "dpm_solver"
    steps: Annotated[tuple[Steps, ...], Field(min_length=1)] = (8, 5, 2)
    sigma_max: Levels = (80.0, 20.0)
    sigma_min: Levels = (0.01, 0.03, 0.05)
    rho: Positive = 7.0
    batch_size: Count = 64
    guidance: Annotated[float, Field(ge=0)] = 1.0
    autoguidance: Annotated[float, Field(ge=1)] = 2.0
    guided: tuple[Annotated[float, Field(ge=0)], Positive] = (0.1, 8.0)
    precision: Literal["float32", "bfloat16"] = "float32"

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


class SampledDiffusion(Diffusion):
    """A diffusion model and how it is sampled; a change of the sampler retrains nothing."""

    sampler: DiffusionSampler = DiffusionSampler()


# A second family makes each of these a union, the first two discriminated by `family`.
Trained = Diffusion
Model = SampledDiffusion
Sampler = DiffusionSampler
