"""How any model is trained: the budget, the optimiser, augmentation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from medsynth.config.section import Count, Fraction, Positive, Strict

# Of the averaging profile, relative to the training: from the last step alone to the mean of all steps (1 / sqrt(12)),
# which is the widest profile that gives no later step less weight (Karras et al. 2024, Eq. 126 at gamma = 0).
EMA_WIDTHS = (1e-6, 12**-0.5)

PLATEAU = 2  # validations without a gain after which the learning rate of `plateau` is halved


class Augmentation(Strict):
    """Geometric changes of the training images, flips only where the modality allows them.

    The network is told of them as a condition, so that they do not appear in samples.
    """

    probability: Fraction = 0.1
    """Share of the images that are changed."""
    shift: Fraction = 0.06
    """Largest shift, as a share of the image."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 6.0
    """Largest rotation."""
    scale: Fraction = 0.08
    """Largest change of scale, as a share."""


class Training(Strict):
    """The budget and the optimiser. Training ends at `images` or `minutes`, whichever is reached first."""

    images: Count = 100_000
    """Budget in images seen."""
    minutes: Positive | None = None
    """Budget in time, null for none. The learning rate follows whichever budget is further spent, so that a repeat
    ends with other weights.
    """
    balance: Fraction = 1.0
    """How often a class comes: in proportion to its number of images to this power. At 1 every image comes as often, at
    0 every class.
    """
    effective_batch_size: Count = 32
    """Images for each optimiser step."""
    batch_size: Count | Literal["auto"] = "auto"
    """Images of a micro-batch, those that go through the network at once; auto takes what fits in memory."""
    learning_rate: Positive = 3e-3
    """Highest learning rate, after the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    schedule: Literal["cosine", "inverse_square_root", "plateau"] = "cosine"
    """How the learning rate falls after the warm-up: at the end, from then on (Vaswani et al. 2017), or by half
    whenever two validations have brought no gain.
    """
    warmup: Fraction = 0.05
    """Share of the budget with a rising learning rate."""
    decay: Fraction = 0.6
    """Share of the budget, at its end, in which a cosine falls to 0."""
    clip_norm: Positive = 1.0
    """Largest norm of the gradient."""
    ema: Positive = 0.1
    """Width of the averaging of the weights, as a share of the training so far (Karras et al. 2024): from 0.000001, the
    last step alone, to 0.2886, the mean of all steps.
    """
    guide_at: Fraction = 0.25
    """Share of the budget at which the averaged weights are kept as the weaker model for autoguidance."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto takes bfloat16 where the device is fast at it. On one CPU, with the same number of threads and
    `batch_size`, either format trains to the same bits again.
    """
    gradient_checkpointing: bool = False
    """Less memory, more time."""
    compile: bool | Literal["auto"] = "auto"
    """Use torch.compile; auto where it pays."""
    augmentation: Augmentation = Augmentation()
    """Changes of the training images."""
    validate_every: Count = 5_000
    """Images between two validations."""
    checkpoint_seconds: Positive = 60.0
    """Time between two checkpoints, from which an interrupted training resumes."""
    patience: Count | None = 5
    """Validations without a gain before training ends; null trains to the end of the budget."""

    @model_validator(mode="after")
    def _schedule_has_its_effect(self) -> Self:
        if self.schedule == "inverse_square_root" and not self.warmup:
            raise ValueError("schedule: inverse_square_root falls from the warm-up on, got warmup 0")
        if self.schedule == "plateau" and self.patience is not None and self.patience <= PLATEAU:
            raise ValueError(
                f"patience: got {self.patience}, plateau halves the learning rate after {PLATEAU} validations without "
                "a gain, expected more"
            )
        return self

    @field_validator("ema")
    @classmethod
    def _has_a_profile(cls, ema: float) -> float:
        narrowest, widest = EMA_WIDTHS
        if not narrowest <= ema <= widest:
            raise ValueError(f"expected a width from {narrowest:g} to {widest:.5f}, that of the mean of all steps")
        return ema
