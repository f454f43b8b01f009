"""The settings of a diffusion model in the latent space of an autoencoder, and how it is sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from medsynth.config.families.diffusion import Codec, Diffusion, DiffusionSampler, Stage
from medsynth.config.families.vae import Autoencoder, Decoding
from medsynth.config.family import Family, Role
from medsynth.config.section import Count, Fraction, Positive
from medsynth.config.training import Training

AUTOENCODER = "autoencoder"


class LatentDiffusionSampler(DiffusionSampler, Decoding):
    """How noise becomes a latent, as for `diffusion`; the decoder turns it into an image by one call."""

    family: Literal["latent_diffusion"] = "latent_diffusion"  # type: ignore[assignment]  # the same keys
    steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (16,)
    """Noise levels of each stage, from pure noise to the latent."""


class LatentDiffusion(Family):
    """A diffusion model of the latents of a trained autoencoder, in place of its prior (Rombach et al. 2022).

    `parents` names the `autoencoder`, a vae or vaegan, which is trained even where no dataset lists it. Each channel of
    the latent is scaled by its deviation over the training images. Images are encoded as they are augmented, so that no
    latent is stored.
    """

    roles: ClassVar = {AUTOENCODER: Role(families=("vae", "vaegan"), required=True)}

    family: Literal["latent_diffusion"]
    codec: Codec = Codec(kind="identity", levels=0)
    """Lossless layout of the latent before the first stage's network."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(channels=(128, 192)),)
    """The denoisers, from coarse to fine, as for `diffusion`."""
    condition_dropout: Fraction = 0.1
    """Probability that a condition is hidden in training, about half of the times with all others."""
    p_mean: float = -0.4
    """Mean of the logarithm of the noise level in training."""
    p_std: Positive = 1.3
    """Standard deviation of the logarithm of the noise level in training."""
    p_tails: Fraction = 0.1
    """Share of the noise levels in training that are spread evenly, in the logarithm, over all levels that can be
    sampled at, from 0.002 to 80.
    """
    training: Training = Training()
    """Budget and optimiser."""
    sampler: LatentDiffusionSampler = LatentDiffusionSampler()
    """How images are drawn."""

    def of_latents(self) -> Diffusion:
        """The settings of the model that draws latents."""
        shared = {"codec", "stages", "condition_dropout", "p_mean", "p_std", "p_tails", "training"}
        return Diffusion(family="diffusion", **{name: getattr(self, name) for name in shared})

    def misfit_of(self, autoencoder: Autoencoder, size: Sequence[int]) -> str | None:
        """The reason why it cannot draw the latents of images of this spatial size, None if it can."""
        grid = autoencoder.grid_of(size)
        reason = autoencoder.misfit(size) or self.of_latents().misfit(grid)
        return reason and f"images of {list(size)}, latents of {list(grid)}: {reason}"

    def candidates(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        return self.of_latents().candidates(fields) | {"steps": ((32,),)}

    def check_parents(self, parents: Mapping[str, Family], size: Sequence[int] | None = None) -> None:
        autoencoder = parents[AUTOENCODER]
        assert isinstance(autoencoder, Autoencoder)  # the roles admit no other
        if size and (reason := self.misfit_of(autoencoder, size)):
            raise ValueError(reason)
