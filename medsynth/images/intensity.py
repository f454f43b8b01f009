"""Which intensities of an image become black and white in the store, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medsynth.errors import InputError
from medsynth.images.image import Image
from medsynth.images.modalities import Modality


@dataclass(frozen=True)
class Intensity:
    """The linear map of [low, high] to [-1, 1]; what lies outside is clipped."""

    low: float
    high: float

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Intensities → float32 in [-1, 1]."""
        scaled = values - np.float32(self.low)
        scaled /= np.float32((self.high - self.low) / 2)
        scaled -= np.float32(1)
        return np.clip(scaled, -1, 1, out=scaled)

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """[-1, 1] → intensities."""
        return (scaled + 1) / 2 * (self.high - self.low) + self.low


def _display(image: Image, limits: tuple[float, float]) -> tuple[float, float]:
    if image.display is None:
        raise InputError("the file states no display range, expected integers or a DICOM window")
    return image.display


def _window(image: Image, limits: tuple[float, float]) -> tuple[float, float]:
    return limits


def _percentiles(image: Image, limits: tuple[float, float]) -> tuple[float, float]:
    low, high = np.percentile(image.voxels, limits)
    return float(low), float(high)


INTENSITY_RULES: dict[str, Callable[[Image, tuple[float, float]], tuple[float, float]]] = {
    "display": _display,
    "window": _window,
    "percentiles": _percentiles,
}


def find_intensity(image: Image, modality: Modality) -> Intensity:
    """The intensity range that the modality's rule gives an image.

    Raises:
        InputError: the rule finds no range in this image.
    """
    low, high = INTENSITY_RULES[modality.intensity](image, modality.limits)
    with np.errstate(over="ignore"):
        ends = np.array([low, high, (high - low) / 2], np.float32)  # what `Intensity` computes with
    if not (np.isfinite(ends).all() and ends[0] < ends[1] and ends[2] > 0):
        raise InputError(f"intensities from {low:g} to {high:g}, expected a range")
    return Intensity(low, high)


def match_channels(image: Image, channels: int) -> np.ndarray:
    """The voxels with the modality's channels: grayscale that is stored as RGB is taken as grayscale.

    Raises:
        InputError: the image has colour and the modality has none, or the other way round.
    """
    voxels = image.voxels
    if len(voxels) == channels:
        return voxels
    if channels == 1 and (voxels == voxels[:1]).all():
        return voxels[:1]
    raise InputError(f"{len(voxels)} colour channels, the modality has {channels}")
