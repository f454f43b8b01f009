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

    probability: Fraction = 0.3
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


class DiffusionSampler(Strict):
    """How noise becomes an image: the solver and its steps on the EDM noise schedule, and guidance."""

    solver: Literal["heun", "dpm_solver"] = "dpm_solver"
    steps: Annotated[int, Field(ge=2)] = 16
    batch_size: Count = 64
    guidance: Annotated[float, Field(ge=0)] = 1.0
    autoguidance: Annotated[float, Field(ge=1)] = 1.0
    rho: Positive = 7.0


class Diffusion(Strict):
    """What a diffusion model is trained by: the EDM formulation (Karras et al. 2022) on a U-Net."""

    family: Literal["diffusion"]
    codec: Codec = Codec()
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (48, 96, 128)
    blocks: Count = 1
    condition_dropout: Fraction = 0.1
    sigma_min: Positive = 0.01
    sigma_max: Positive = 80.0
    p_mean: float = -0.8
    p_std: Positive = 1.2
    whitening: Fraction = 1.0
    training: Training = Training()

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self


class SampledDiffusion(Diffusion):
    """A diffusion model and how it is sampled; a change of the sampler retrains nothing."""

    sampler: DiffusionSampler = DiffusionSampler()


# A second family makes each of these a union, the first two discriminated by `family`.
Trained = Diffusion
Model = SampledDiffusion
Sampler = DiffusionSampler
