"""The settings of a variational autoencoder, and how it is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from medsynth import registry
from medsynth.config.base_model import INITIAL
from medsynth.config.family import Family, Role, Sampler
from medsynth.config.losses import Losses
from medsynth.config.section import Count, Fraction, Positive
from medsynth.config.training import Training

LEAST = 4  # side of the latent, and of a grid of patches: a smaller one keeps little of the layout
COARSEST = 1024  # values of the latent at its coarsest scale, whose covariance matrix is learnt, at most
AUTO_CHANNELS = (4, 32)  # of the latent, fewest and most
ENOUGH = 128  # values below which the latent is not halved further

Weight = Annotated[float, Field(ge=0)]


class Variational(Training):
    """The budget and the optimiser of a variational autoencoder; `guide_at` is not used."""

    effective_batch_size: Count = 8
    """Images for each optimiser step: at budgets of minutes, small batches give more steps."""
    learning_rate: Positive = 1e-3
    """Highest learning rate, after the warm-up; a higher one soon loses the linear model that it begins as."""
    warmup: Fraction = 0.1
    """Share of the budget with a rising learning rate."""


class Decoding(Sampler):
    """How a decoder turns a latent into an image."""

    decode_tiles: Count | Literal["auto"] = "auto"
    """Side of the tiles that are decoded at once, in places of the latent: less memory, more time, the same image up to
    rounding. auto decodes whole images where they fit into memory.
    """


class LatentSampler(Decoding):
    """How the prior draws a latent, which the decoder turns into an image by one call."""

    temperature: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (1.0, 0.7, 0.4)
    """Standard deviation of the noise at each scale of the latent, from coarse to fine, as a share of what the prior
    has learnt (Vahdat & Kautz 2020): less looks better and is less varied. The last entry serves all finer scales.
    """

    @field_validator("temperature")
    @classmethod
    def _varies(cls, temperature: tuple[float, ...]) -> tuple[float, ...]:
        if temperature[0] == 0:
            raise ValueError("temperature: got 0 at the coarsest scale, where all samples would be alike")
        return temperature


class VaeSampler(LatentSampler):
    """How a variational autoencoder draws."""

    family: Literal["vae"] = "vae"


class Autoencoder(Family):
    """What the families of autoencoders share: the network, the latent and the terms of the loss.

    Encoder and decoder are made of the blocks of MONAI's AutoencoderKL, on Haar bands of the image. The latent is a
    grid, drawn from coarse to fine by a conditional prior that is learnt with them.
    """

    haar_levels: Annotated[int, Field(ge=0, le=3)] = 1
    """Each halves the resolution that the network sees, without loss; more are faster."""
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64)
    """Channels at each resolution of encoder and decoder, from fine to coarse; the last is that of the latent."""
    blocks: Count = 1
    """Residual blocks for each resolution."""
    latent_channels: Count | Literal["auto"] = "auto"
    """Channels of the latent; auto takes a quarter of the number of pixels or voxels that share a place of it, from 4
    to 32.
    """
    prior_channels: Count = 64
    """Channels of the prior's network at each scale of the latent."""
    prior_blocks: Count = 2
    """Residual blocks of the prior's network at each scale of the latent."""
    condition_dropout: Fraction = 0.1
    """Probability that a condition is hidden in training, about half of the times with all others."""
    kl_weight: Positive = 1.0
    """Weight of the KL term at the end of its warm-up; 1 is the evidence lower bound, more draws better and
    reconstructs worse (Higgins et al. 2017).
    """
    kl_warmup: Fraction = 0.2
    """Share of the budget in which the weight of the KL term rises from 0 (Sønderby et al. 2016)."""
    free_nats: Weight = 0.005
    """KL for each value of the latent, at each of its scales, below which it costs nothing (Kingma et al. 2016)."""
    losses: Losses = {}
    """Terms beside the model's own loss, between an image and its reconstruction; `below` has no meaning here."""

    @model_validator(mode="after")
    def _losses_have_no_noise_level(self) -> Self:
        for name, loss in self.losses.items():
            if loss.below is not None:
                raise ValueError(f"losses.{name}.below: got {loss.below:g}, an autoencoder has no noise level")
        return self

    def for_images(self, size: Sequence[int]) -> Self:
        return self.model_copy(update={"latent_channels": self.latent_of(size)})

    def latent_of(self, size: Sequence[int]) -> int:
        """Channels of the latent."""
        if self.latent_channels != "auto":
            return self.latent_channels
        sharing = 2 ** (len(size) * (self.haar_levels + len(self.channels) - 1))
        return min(max(sharing // 4, AUTO_CHANNELS[0]), AUTO_CHANNELS[1])

    def grid_of(self, size: Sequence[int]) -> tuple[int, ...]:
        """Spatial shape of the latent."""
        return tuple(extent // 2 ** (self.haar_levels + len(self.channels) - 1) for extent in size)

    def scales_of(self, size: Sequence[int]) -> int:
        """Scales of the latent: it is halved as long as it can be, and has many values."""
        grid, scales = self.grid_of(size), 1
        while all(extent % 2 == 0 for extent in grid) and self.latent_of(size) * math.prod(grid) > ENOUGH:
            grid, scales = tuple(extent // 2 for extent in grid), scales + 1
        return scales

    def misfit(self, size: Sequence[int]) -> str | None:
        factor = 2 ** (self.haar_levels + len(self.channels) - 1)
        if any(extent % factor or extent < LEAST * factor for extent in size):
            return (
                f"size {list(size)} over {factor}, for haar_levels {self.haar_levels} and {len(self.channels)} "
                f"resolutions in channels, expected whole numbers from {LEAST}"
            )
        coarsest = [extent // 2 ** (self.scales_of(size) - 1) for extent in self.grid_of(size)]
        if (values := self.latent_of(size) * math.prod(coarsest)) > COARSEST:
            return (
                f"size {list(size)} over {factor} leaves a latent that is halved to {coarsest} and no further, with "
                f"{values} values, expected at most {COARSEST}: take another size, or more resolutions in channels"
            )
        return None

    def needs(self) -> Mapping[str, str]:
        return {f"losses.{name}": loss.needs for name, loss in self.losses.items() if loss.needs}

    def candidates(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        return {"temperature": ((1.0,), (1.0, 0.5, 0.0), (0.85, 0.6, 0.3), (1.0, 0.9, 0.7))}

    def entries(self) -> tuple[registry.Entry, ...]:
        return (*super().entries(), *(registry.LOSSES[name] for name in self.losses))


class Vae(Autoencoder):
    """A variational autoencoder (Kingma & Welling 2014) with a conditional prior over the scales of its latent.

    An image is drawn by one call of the decoder. `parents` may name an `initial` vae or vaegan model, of this dataset
    or as `<dataset>/<model>`, whose weights it begins with where shapes are the same.
    """

    roles: ClassVar = {INITIAL: Role(families=("vae", "vaegan"), elsewhere=True)}

    family: Literal["vae"]
    training: Variational = Variational()
    """Budget and optimiser."""
    sampler: VaeSampler = VaeSampler()
    """How images are drawn."""
