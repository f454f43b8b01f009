"""How much smaller the image is for each stage of a cascade, and which sizes go through it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsynth import config


def codec_factor(codec: config.Codec) -> int:
    """How many times smaller a codec makes each spatial axis."""
    return 1 if codec.kind == "identity" else 2**codec.levels


def stage_factors(settings: config.Diffusion) -> tuple[int, ...]:
    """How many times smaller each spatial axis is for a stage than the image's, from the coarsest stage."""
    doublings = range(len(settings.stages) - 1, 0, -1)
    return (codec_factor(settings.codec) * 2 ** len(doublings), *(2**level for level in doublings))


def misfit(settings: config.Diffusion, size: Sequence[int]) -> str | None:
    """Why a cascade cannot make images of this size, None where it can."""
    for stage, factor in zip(settings.stages, stage_factors(settings), strict=True):
        step = factor * 2 ** (len(stage.channels) - 1)
        if any(extent % step for extent in size):
            return (
                f"size {list(size)} is not divisible by {step}, which a stage of {len(stage.channels)} "
                f"resolutions, the first 1/{factor} of the image's, needs: take fewer of them, or fewer stages"
            )
    return None
