"""What samples are worth to a classifier: how it is trained, and with how many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from medsynth.config.section import Count, Positive, Strict

SIDES = {2: 32, 3: 16}  # of the images that the classifier sees
AUROC_GAIN, RECALL_GAIN = MEASURED = ("utility_auroc_gain", "utility_recall_gain")  # what gain.csv has lines of


class Utility(Strict):
    """Classifiers of the label, trained on real images, on samples and on both, for as many steps each.

    Each is judged on the test split, whose subjects no model has seen.
    """

    seeds: Annotated[int, Field(ge=2, le=100)] = 5
    """Classifiers for each way of training, of different initial weights and batches."""
    doses: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    """Kept samples beside the real training images, as multiples of the number of these; rising."""
    steps: Count = 300
    """Optimiser steps of each classifier."""
    batch_size: Count = 32
    """Images of a step."""
    learning_rate: Positive = 3e-3
    """Highest learning rate of AdamW, in one cycle."""
    channels: tuple[Count, Count, Count, Count] = (8, 16, 32, 64)
    """Channels of the residual network at its four resolutions, from fine to coarse."""
    side: Count | Literal["auto"] = "auto"
    """Pixels or voxels a side that images are averaged down to; auto is 32 for images and 16 for volumes."""
    bootstrap: Annotated[int, Field(ge=20)] = 500
    """Draws of test subjects, for intervals."""

    @field_validator("doses")
    @classmethod
    def _rise(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if list(doses) != sorted(set(doses)):
            raise ValueError(f"doses {list(doses)} do not rise")
        return doses

    def for_images(self, size: Sequence[int]) -> Self:
        """The same settings with what follows from the spatial size of the images written out."""
        return self.model_copy(update={"side": SIDES[len(size)]}) if self.side == "auto" else self


class UtilitySettings(Strict):
    """What the step `utility` is given."""

    seed: int
    utility: Utility
