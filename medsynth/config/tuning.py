"""How many sampler settings are tried."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medsynth.config.section import Strict


class Tuning(Strict):
    """The budget of `tune`, which compares sampler settings on the conditions of validation images.

    A key that `sampler` sets stays; the others are chosen. The budget counts images, so that the choice is the same on
    every machine.
    """

    candidates: Annotated[int, Field(ge=0)] = 18
    """Settings that may be tried beside the configured one; 0 takes that one as it is."""
    images: Annotated[int, Field(ge=16)] = 128
    """Images drawn with each setting."""
