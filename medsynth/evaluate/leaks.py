"""Samples beside test images: a generator that has seen test subjects must not be judged by them."""

from __future__ import annotations

from dataclasses import dataclass

from medsynth.artifacts.shards import Images
from medsynth.judges.copies import Likeness, TrainingIndex


@dataclass(frozen=True)
class Leaks:
    """Likeness to the test image most like each: of samples, and of validation images, which are of other subjects."""

    synthetic: Likeness
    validation: Likeness


def leaks(index: TrainingIndex, test: Images, synthetic: Images, validation: Images) -> Leaks:
    """Search test images as `index` searches training images: uint16 (n, C, *spatial) each."""
    of_test = index.over(test)
    return Leaks(of_test.nearest(synthetic), of_test.nearest(validation))
