"""How any model is trained: the budget, the optimiser, augmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medsynth.config.section import Count, Fraction, Positive, Strict


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
