"""The settings of a diffusion model, and how it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from medsynth import registry
from medsynth.config.family import Family, Loss, Role, Sampler
from medsynth.config.section import Count, Fraction, Positive, Strict, refuse_unknown

Levels = Annotated[tuple[Positive, ...], Field(min_length=1)]


class Codec(Strict):
    """A fixed, lossless change of layout before the network: each level halves the resolution."""

    kind: Literal["identity", "pixel_unshuffle", "haar"] = "haar"
    levels: Annotated[int, Field(ge=0, le=4)] = 1


class Stage(Strict):
    """One denoiser of the cascade: its U-Net's channels, one entry for each resolution, and residual blocks.

    It learns from `share` of every batch: details are many in one image, so that a fine stage needs fewer of them.
    """

    channels: Annotated[tuple[Count, ...], Field(min_length=1)]
    blocks: Count = 1
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class DiffusionSampler(Sampler):
    """How noise becomes an image: the solver, the noise levels of Karras et al. 2022, Eq. 5, and guidance.

    `steps`, `sigma_max` and `sigma_min` have one entry for each stage, from coarse to fine; the last entry serves all
    stages after it. Guidance of either kind acts between two noise levels alone, `guided` (Kynkäänniemi et al. 2024).
    """

    family: Literal["diffusion"] = "diffusion"
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


class Diffusion(Family):
    """A diffusion model: the EDM formulation (Karras et al. 2022) in a cascade of U-Nets.

    `stages` go from coarse to fine: the first makes the smallest image, each later one the details that double it. A
    change of the sampler retrains nothing. `parents.initial` names a diffusion model, of this dataset or as
    <dataset>/<model>, whose weights it begins with where they fit.
    """

    roles: ClassVar = {"initial": Role(families=("diffusion",), elsewhere=True)}

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
    losses: dict[str, Loss] = {}
    sampler: DiffusionSampler = DiffusionSampler()

    @field_validator("losses")
    @classmethod
    def _losses_exist(cls, losses: dict[str, Loss]) -> dict[str, Loss]:
        refuse_unknown("loss", losses, registry.LOSSES)
        return losses

    def misfit(self, size: Sequence[int]) -> str | None:
        for index, stage in enumerate(self.stages):
            doublings = len(self.stages) - max(index, 1)
            factor = 2 ** (doublings + (self.codec.levels if index == 0 and self.codec.kind != "identity" else 0))
            step = factor * 2 ** (len(stage.channels) - 1)
            if any(extent % step for extent in size):
                return (
                    f"size {list(size)} is not divisible by {step}, which a stage of {len(stage.channels)} "
                    f"resolutions, the first 1/{factor} of the image's, needs: take fewer of them, or fewer stages"
                )
        return None

    def entries(self) -> tuple[registry.Entry, ...]:
        return (*super().entries(), *(registry.LOSSES[name] for name in self.losses))
