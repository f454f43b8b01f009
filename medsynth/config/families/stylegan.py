"""The settings of a style-based GAN, and how it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medsynth.config.base_model import INITIAL
from medsynth.config.family import Family, Role, Sampler
from medsynth.config.section import Count, Fraction, Positive
from medsynth.config.training import Training

COARSEST = (4, 16)  # sides of the coarsest features: fewer learn nothing of the layout, more take a large first layer

Weight = Annotated[float, Field(ge=0)]


class Adversarial(Training):
    """The budget and the optimiser of a generator and its discriminator; `guide_at` is not used."""

    effective_batch_size: Count = 8
    """Images for each optimiser step: at budgets of minutes, small batches give more steps and better images."""
    learning_rate: Positive = 2e-3
    """Highest learning rate of the discriminator; the generator has twice as much."""
    weight_decay: Weight = 0.0
    """Weight decay of AdamW."""
    clip_norm: Positive = 10.0
    """Largest norm of the gradient."""
    decay: Fraction = 0.4
    """Share of the budget, at its end, in which a cosine falls to 0."""
    patience: Count | None = None
    """Validations without a gain before training ends; null trains to the end of the budget."""

    @model_validator(mode="after")
    def _keeps_activations(self) -> Self:
        if self.gradient_checkpointing:
            raise ValueError("gradient_checkpointing: a stylegan model has none, take a smaller batch_size")
        return self


class StyleganSampler(Sampler):
    """How a generator draws."""

    family: Literal["stylegan"] = "stylegan"
    truncation: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Truncation (Karras et al. 2019): styles are drawn towards the mean style of the condition, 1 is not at all. Less
    looks better and is less varied.
    """


class Stylegan(Family):
    """A style-based GAN (Karras et al. 2020) on the bands of a Haar pyramid (Gal et al. 2021).

    Generator and discriminator learn by the relativistic pairing loss with zero-centred gradient penalties (Huang et
    al. 2024), on differentiably augmented images (Zhao et al. 2020). An image is drawn by one network call. `parents`
    may name an `initial` stylegan model, of this dataset or as `<dataset>/<model>`, whose generator and discriminator
    it begins with where resolutions and channels are the same.
    """

    roles: ClassVar = {INITIAL: Role(families=("stylegan",), elsewhere=True)}

    family: Literal["stylegan"]
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (128, 96, 48)
    """Channels at each resolution, from coarse to fine; the last has half of the image's resolution."""
    latent_dim: Count = 64
    """Width of the latent vector and of the style."""
    mapping_layers: Count = 2
    """Layers of the mapping network."""
    style_mixing: Fraction = 0.5
    """Share of the images in training that have a second style from some resolution on (Karras et al. 2019)."""
    progressive_growing: Fraction = 0.0
    """Share of the budget in which finer resolutions fade in, one after the other, until the finest is trained (Karras
    et al. 2018); 0 trains all of them from the start.
    """
    condition_dropout: Fraction = 0.1
    """Probability that a condition is hidden in training, about half of the times with all others."""
    gamma: tuple[Weight, Weight] = (0.2, 0.05)
    """Weight of the gradient penalties R1 and R2, at the start and at the end of training; chosen at 64 pixels."""
    penalty_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of each batch that has the gradient penalties, whose weight makes up for the others."""
    discriminator_augmentation: Fraction | Literal["adaptive"] = 0.3
    """Probability that a real and a drawn image are shifted, cut and changed in brightness and contrast, both alike,
    before the discriminator. adaptive begins at 0 and rises while the discriminator tells nearly all pairs apart, as it
    does once it knows the training images by heart; it falls otherwise (Karras et al. 2020, limited data).
    """
    training: Adversarial = Adversarial()
    """Budget and optimiser."""
    sampler: StyleganSampler = StyleganSampler()
    """How images are drawn."""

    @model_validator(mode="after")
    def _grows_from_a_coarser_one(self) -> Self:
        if self.progressive_growing and len(self.channels) == 1:
            raise ValueError("progressive_growing: there is one resolution in channels, expected at least 2")
        return self

    def misfit(self, size: Sequence[int]) -> str | None:
        factor = 2 ** len(self.channels)
        coarsest = [extent / factor for extent in size]
        least, most = COARSEST
        if all(extent.is_integer() for extent in coarsest) and least <= min(coarsest) and max(coarsest) <= most:
            return None
        return (
            f"size {list(size)} over {factor}, for {len(self.channels)} resolutions in channels, expected whole "
            f"numbers from {least} to {most}"
        )

    def candidates(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        return {"truncation": (0.85, 0.7)}
