"""The settings of a variational autoencoder with a discriminator, and how it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from medsynth.config.base_model import INITIAL
from medsynth.config.families.vae import LEAST, Autoencoder, LatentSampler, Variational
from medsynth.config.family import Role
from medsynth.config.section import Count, Fraction, Positive


class VaeganTraining(Variational):
    """The budget and the optimiser of an autoencoder and its discriminator; `guide_at` is not used."""

    patience: Count | None = None
    """Validations without a gain before training ends; null trains to the end of the budget."""


class VaeganSampler(LatentSampler):
    """How a variational autoencoder with a discriminator draws."""

    family: Literal["vaegan"] = "vaegan"


class Vaegan(Autoencoder):
    """A variational autoencoder whose reconstructions and samples a patch discriminator sees (Larsen et al. 2016).

    The discriminator (Isola et al. 2017) has spectral normalisation (Miyato et al. 2018) and the hinge loss, and starts
    at a share of the budget. `parents` may name an `initial` vae or vaegan model, of this dataset or as
    `<dataset>/<model>`, whose weights it begins with where shapes are the same.
    """

    roles: ClassVar = {INITIAL: Role(families=("vae", "vaegan"), elsewhere=True)}

    family: Literal["vaegan"]
    adversarial_start: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of the budget from which the discriminator learns and is learnt from."""
    adversarial_weight: Positive = 0.5
    """Weight of the adversarial term, beside the adaptive one."""
    adaptive_weight: bool = True
    """Scale the adversarial term so that its gradient at the decoder's last layer is as large as that of the
    reconstruction (Esser et al. 2021, Eq. 7).
    """
    discriminator_channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64)
    """Channels of the discriminator; each entry halves the resolution, down to that of the patches."""
    discriminator_augmentation: Fraction = 0.3
    """Probability that a real image and what is beside it are shifted, cut and changed in brightness and contrast, all
    alike, before the discriminator.
    """
    training: VaeganTraining = VaeganTraining()
    """Budget and optimiser."""
    sampler: VaeganSampler = VaeganSampler()
    """How images are drawn."""

    def misfit(self, size: Sequence[int]) -> str | None:
        halvings = self.haar_levels + len(self.discriminator_channels)
        if min(size) < LEAST * 2**halvings:
            return (
                f"size {list(size)} over {2**halvings}, for haar_levels {self.haar_levels} and "
                f"{len(self.discriminator_channels)} entries of discriminator_channels, expected at least {LEAST} "
                "patches a side"
            )
        return super().misfit(size)
