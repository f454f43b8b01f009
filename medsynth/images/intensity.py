"""Which intensities of an image become black and white in the store, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from medsynth.errors import InputError
from medsynth.images.image import Image
from medsynth.images.modalities import Modality

CONTAINER_BITS = 16  # of a value; fewer may be used, and neither PNG nor most TIFFs say how many
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB (ITU-R BT.601, as in JPEG)
FAINT = 0.15  # largest difference between channels that is a tint, as a share of the range
SPECKS = 0.001  # share of the pixels that may differ by more: JPEG's edges, a stamp


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
    values = image.voxels if image.padding is None else image.voxels[:, ~image.padding]
    bright = values[values > values.mean()]
    low = float(np.percentile(values, limits[0]))
    return low, float(np.percentile(bright, limits[1])) if bright.size else low


INTENSITY_RULES: dict[str, Callable[[Image, tuple[float, float]], tuple[float, float]]] = {
    "display": _display,
    "window": _window,
    "percentiles": _percentiles,
}


def rule_of(modality: Modality, windowed: bool) -> str:
    """Which of INTENSITY_RULES holds; images that somebody has windowed are taken as they are shown."""
    return "display" if windowed else modality.intensity


def find_intensity(
    image: Image, modality: Modality, windowed: bool = False, window: tuple[float, float] | None = None
) -> Intensity:
    """The intensity range that the modality's rule gives an image.

    Args:
        windowed: the source says that intensities are no longer in the modality's unit.
        window: in place of the modality's own, in its unit.
    Raises:
        InputError: the rule finds no range in this image, or the file has not the unit that it needs.
    """
    if image.padding is not None and image.padding.all():
        raise InputError("every pixel is padding")
    rule = rule_of(modality, windowed)
    if rule == "window" and image.bits is not None:
        raise InputError(
            f"grey values of {image.bits} bits have no unit, expected {modality.unit}; "
            "source.intensity: windowed takes them as windowed already"
        )
    low, high = INTENSITY_RULES[rule](image, window or modality.limits)
    with np.errstate(over="ignore"):
        ends = np.array([low, high, (high - low) / 2], np.float32)  # what `Intensity` computes with
    if not (np.isfinite(ends).all() and ends[0] < ends[1] and ends[2] > 0):
        raise InputError(f"intensities from {low:g} to {high:g}, expected a range")
    return Intensity(low, high)


def within_bits(image: Image, bits: int) -> Image:
    """A 16-bit image whose file does not say how many bits it uses, shown over so many; any other as it is.

    Raises:
        InputError: a value needs more bits.
    """
    if image.bits != CONTAINER_BITS:
        return image
    if (largest := int(image.voxels.max())) >= 2**bits:
        raise InputError(f"values up to {largest:,}, source.bits_stored: {bits} allows {2**bits - 1:,}")
    return replace(image, display=(0.0, 2.0**bits - 1))


def take_channels(image: Image, channels: int, luma: bool = False) -> tuple[np.ndarray, bool]:
    """The voxels with the modality's channels, and whether a tint or colour was left out for that.

    Args:
        luma: take the brightness of any colour, not of a faint tint alone.
    Raises:
        InputError: the image has strong colour and the modality has none, or the other way round.
    """
    voxels = image.voxels
    if channels != 1 or len(voxels) != len(LUMA) or (voxels == voxels[:1]).all():
        return match_channels(image, channels), False
    low, high = image.display or (float(voxels.min()), float(voxels.max()))
    strong = np.count_nonzero(np.ptp(voxels, axis=0) > FAINT * (high - low)) / voxels[0].size
    if not luma and strong > SPECKS:
        raise InputError(
            f"colour in {strong:.1%} of the pixels, the modality has none; source.colour: luma takes its brightness"
        )
    return np.tensordot(LUMA, voxels.astype(np.float32), 1)[None], True


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
