"""The settings of a diffusion model, and how it is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medsynth import registry
from medsynth.config.base_model import DETAILS, INITIAL, Base, bases
from medsynth.config.family import Family, Role, Sampler
from medsynth.config.losses import Losses
from medsynth.config.section import Count, Fraction, Name, Positive, Strict

NOISE_RANGE = (0.002, 80.0)  # levels that training visits, so that any in between can be sampled at

Level = Annotated[float, Field(ge=NOISE_RANGE[0], le=NOISE_RANGE[1])]
Levels = Annotated[tuple[Level, ...], Field(min_length=1)]
Strength = Annotated[float, Field(ge=0)]


class Codec(Strict):
    """A fixed, lossless change of layout before the network: each level halves the resolution."""

    kind: Literal["identity", "pixel_unshuffle", "haar"] = "haar"
    """The change of layout."""
    levels: Annotated[int, Field(ge=0, le=4)] = 1
    """Each halves the resolution that the network sees; identity has none."""
    colour: Literal["rgb", "opponents"] = "rgb"
    """What the channels of colour images are to every stage: red, green and blue, or brightness and two opponent
    colours. Brightness can begin with a grey model, and with the base of the package.
    """


class Stage(Strict):
    """One denoiser of the cascade."""

    channels: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Channels of its U-Net, one entry for each resolution."""
    blocks: Count = 1
    """Residual blocks for each resolution."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Part of every batch that it learns from: one image holds many details, and they are alike in all images."""
    patch: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Side of the patch that it learns from, as a share of the image's: less memory and time for each image."""
    positions: bool = False
    """Tell where each pixel or voxel lies in the image, by a plane for each axis: a patch then shows its place."""


class AdversarialDetails(Strict):
    """A discriminator of the last stage's details, given the coarser image (WaveDiff, Phung et al. 2023; relativistic
    pairing loss with R1 + R2, Huang et al. 2024).

    Beside its own loss, which holds it to the data, the last stage then learns to draw details as sharp as real ones in
    one step from a high noise level.
    """

    level: Level = 20.0
    """Noise level that details are drawn from: the last stage's `sampler.sigma_max`."""
    weight: Positive = 0.1
    """Of the discriminator's judgement, beside the last stage's own loss."""
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64)
    """Channels of the discriminator, one entry for each resolution."""
    start: Fraction = 0.3
    """Share of the budget from which it acts: it tells little from details that are not yet there."""
    gamma: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the gradient penalties R1 and R2."""
    augmentation: Fraction = 0.3
    """Probability that true and drawn details are shifted, cut and changed in contrast, both alike."""


AUTO_STAGES = (
    Stage(channels=(128, 192)),
    Stage(channels=(64, 128), share=0.4),
    Stage(channels=(48, 48), share=0.25),
    Stage(channels=(32, 32), share=0.12),
    Stage(channels=(24, 24), share=0.06),
)
COARSEST = {2: 16, 3: 8}  # pixels or voxels a side of the image of the first stage, at least


class DiffusionSampler(Sampler):
    """How noise becomes an image: the solver, the noise levels of Karras et al. 2022, Eq. 5, and guidance.

    `steps`, `sigma_max` and `sigma_min` have one entry for each stage, from coarse to fine; the last entry serves all
    stages after it. Several guidances add up. A change tunes and samples again, and trains nothing but its students.
    """

    family: Literal["diffusion"] = "diffusion"
    solver: Literal["euler", "heun", "dpm_solver"] = "dpm_solver"
    """euler is DDIM, of first order; dpm_solver is DPM-Solver++ of second order; heun, of second order too, takes twice
    as many network calls a step.
    """
    steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (8, 6, 5)
    """Noise levels of each stage, from pure noise to the image."""
    sigma_max: Levels = (80.0, 20.0)
    """Highest noise level of each stage, in standard deviations of the data."""
    sigma_min: Levels = (0.01, 0.03, 0.05)
    """Lowest noise level of each stage."""
    rho: Positive = 7.0
    """How densely the steps lie at low noise."""
    guidance: Strength | dict[Name, Strength] = 1.0
    """Classifier-free guidance away from images of no condition, or condition → strength, away from images without that
    condition; 1 is none.
    """
    autoguidance: Annotated[float, Field(ge=1)] = 2.0
    """Guidance by a less trained copy (Karras et al. 2024); 1 is none."""
    guided: tuple[Strength, Positive] = (0.1, 8.0)
    """Lowest and highest noise level at which guidance acts (Kynkäänniemi et al. 2024)."""
    coarse_noise: Fraction = 0.0
    """Noise on the coarser image that a later stage is given, in its standard deviations."""
    windows: bool = False
    """Stages that learnt from patches draw in windows of that size, which overlap, instead of the whole image at once:
    less memory, more time.
    """

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        for stage in range(max(len(self.sigma_max), len(self.sigma_min))):
            high, low = (levels[min(stage, len(levels) - 1)] for levels in (self.sigma_max, self.sigma_min))
            if low >= high:
                raise ValueError(f"sigma_min {low:g} is not below sigma_max {high:g}")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.guidance) if isinstance(self.guidance, dict) else ()

    @model_validator(mode="after")
    def _guided_is_a_range(self) -> Self:
        if not self.guided[0] < self.guided[1]:
            raise ValueError(f"guided {list(self.guided)} does not rise, expected [lowest, highest] noise level")
        return self


class Diffusion(Family):
    """A diffusion model: the EDM formulation (Karras et al. 2022) in a cascade of U-Nets.

    `parents` may name an `initial` diffusion model, of this dataset or as `<dataset>/<model>`, whose weights it begins
    with where they fit, or one for `details`, whose first stage is left out: what an image shows is learnt anew, how it
    is drawn is not. Without either, grey 2D images, and the brightness of opponent colours, have their details from the
    base model of the package, where a stage is the same as one of its; `initial: none` begins from scratch.
    """

    roles: ClassVar = {role: Role(families=("diffusion",), elsewhere=True) for role in (INITIAL, DETAILS)}

    family: Literal["diffusion"]
    codec: Codec = Codec()
    """Lossless layout before the first stage's network."""
    stages: Literal["auto"] | Annotated[tuple[Stage, ...], Field(min_length=1)] = "auto"
    """The denoisers, from coarse to fine: the first makes the smallest image, each later one the details that
    double it. auto begins at 16 pixels, or 8 voxels, a side and has one for each doubling.
    """
    condition_dropout: Fraction = 0.1
    """Probability that a condition is hidden in training, about half of the times with all others."""
    coarse_noise: Fraction = 0.1
    """Largest noise on the coarser image that a later stage is given, and told of, in training, in the image's standard
    deviations (Ho et al. 2022).
    """
    p_mean: float = -0.6
    """Mean of the logarithm of the noise level in training."""
    p_std: Positive = 1.3
    """Standard deviation of the logarithm of the noise level in training."""
    p_tails: Fraction = 0.1
    """Share of the noise levels in training that are spread evenly, in the logarithm, over all levels that can be
    sampled at, from 0.002 to 80.
    """
    whitening: Fraction = 1.0
    """Exponent of the scaling of sub-bands to equal variance: 0 is none, 1 is full."""
    losses: Losses = {}
    """Terms beside the model's own loss, between the image with denoised and with true bands."""
    adversarial: AdversarialDetails | None = None
    """A discriminator of the last stage's details; needs at least two stages. None is without."""
    sampler: DiffusionSampler = DiffusionSampler()
    """How images are drawn."""

    @model_validator(mode="after")
    def _losses_see_whole_images(self) -> Self:
        if self.losses and self.stages != "auto" and any(stage.patch < 1 for stage in self.stages):
            raise ValueError(f"losses {', '.join(self.losses)} compare whole images, got a stage with a patch below 1")
        return self

    def for_images(self, size: Sequence[int]) -> Self:
        return self.model_copy(update={"stages": self.stages_of(size)})

    def stages_of(self, size: Sequence[int]) -> tuple[Stage, ...]:
        """The denoisers of images of this spatial size, from coarse to fine: as many as fit, where it chooses."""
        if self.stages != "auto":
            return self.stages
        first, *details = AUTO_STAGES
        doublings = max(0, int(math.log2(min(size) / COARSEST[len(size)])))
        details += details[-1:] * (doublings - len(details))
        choices = [(first, *details[:count]) for count in range(doublings, -1, -1)]
        return next((stages for stages in choices if self._misfit(stages, size) is None), choices[-1])

    def misfit(self, size: Sequence[int]) -> str | None:
        stages = self.stages_of(size)
        if reason := self._misfit(stages, size):
            return reason
        if self.adversarial and len(stages) < 2:
            return f"size {list(size)} has one stage, adversarial judges the details of a second one"
        step = 2 ** len(self.adversarial.channels) if self.adversarial else 1
        if any(extent % step for extent in size):
            return (
                f"size {list(size)} is not divisible by {step}, which {step.bit_length() - 1} adversarial.channels need"
            )
        return None

    def _misfit(self, stages: Sequence[Stage], size: Sequence[int]) -> str | None:
        for index, stage in enumerate(stages):
            doublings = len(stages) - max(index, 1)
            factor = 2 ** (doublings + (self.codec.levels if index == 0 and self.codec.kind != "identity" else 0))
            step = factor * 2 ** (len(stage.channels) - 1)
            if any(extent % step for extent in size):
                return (
                    f"size {list(size)} is not divisible by {step}, which a stage of {len(stage.channels)} "
                    f"resolutions, the first 1/{factor} of the image's, needs"
                    + ("" if self.stages == "auto" else ": take fewer of them, or fewer stages")
                )
        return None

    def base(self, shape: Sequence[int]) -> Base | None:
        if not self.parents.keys().isdisjoint({INITIAL, DETAILS}):
            return None
        for base in bases():
            if base.model["family"] == self.family and base.serves(shape, self.codec.colour == "opponents"):
                other = Diffusion.model_validate(base.model)
                if not self._details(shape[1:]).isdisjoint(other._details(base.shape[1:])):
                    return base
        return None

    def _details(self, size: Sequence[int]) -> set[tuple[Any, ...]]:
        """What decides the shapes of the weights of each stage after the first: its resolution and its network."""
        stages = self.stages_of(size)
        last = len(stages) - 1
        return {
            (tuple(extent // 2 ** (last - index) for extent in size), stage.channels, stage.blocks)
            for index, stage in enumerate(stages)
            if index
        }

    def needs(self) -> Mapping[str, str]:
        return {f"losses.{name}": loss.needs for name, loss in self.losses.items() if loss.needs}

    def candidates(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        last_in_one: tuple[tuple[int, ...], ...] = ()
        if self.adversarial and self.stages != "auto":
            steps = self.sampler.steps
            last_in_one = ((*(steps[min(n, len(steps) - 1)] for n in range(len(self.stages) - 1)), 1),)
        return {
            "solver": ("euler",),
            "guidance": (1.5, 2.5),
            "autoguidance": (1.0, 1.5, 3.0),
            "sigma_max": ((40.0, 10.0), (20.0, 5.0)),
            "guided": ((0.3, 3.0), (0.05, 20.0)),
            "steps": (*last_in_one, (16, 10, 5)),
            "sigma_min": ((0.003, 0.01, 0.02),),
            "coarse_noise": (self.coarse_noise / 2,),
        }

    def entries(self) -> tuple[registry.Entry, ...]:
        return (*super().entries(), *(registry.LOSSES[name] for name in self.losses))
