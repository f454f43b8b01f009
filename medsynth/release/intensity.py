"""Which grey values a released image has, and what they mean in the modality's unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medsynth.artifacts.store import Store
from medsynth.images.intensity import rule_of
from medsynth.images.modalities import MODALITIES


@dataclass(frozen=True)
class Grey:
    """How a file's values mean an intensity in the modality's unit: value * slope + intercept."""

    dtype: type[np.uint8] | type[np.uint16]
    slope: float
    intercept: float
    high: float

    def values(self, image: np.ndarray) -> np.ndarray:
        """The file's values of a stored uint16 image, both (C, *spatial)."""
        intensity_above_low = image.astype(np.float64) / 65535 * (self.high - self.intercept)
        return np.rint(intensity_above_low / self.slope).astype(self.dtype)


def grey_scale(store: Store) -> Grey:
    """The files' scale for a store: the modality's own intensities, as the training images show them.

    A fixed window is kept in whole units (CT: Hounsfield units above the window's lower end). Images that their source
    had windowed before have no such unit, and stay as they were shown. What is shown in 8 bits stays so, and so does
    colour, since programs that read 16-bit RGB are rare. Anything else fills 16 bits.
    Images with windows of their own are given the median window of the training images.
    """
    modality = MODALITIES[store.info.modality]
    rows = store.split("train").samples
    low, high = (float(np.median(rows[end].astype(float))) for end in ("low", "high"))
    rule = rule_of(modality, store.info.windowed)
    if rule == "window":
        return Grey(np.uint16, 1.0, low, high)
    if modality.channels == 3 or (rule == "display" and high - low <= 255):
        return Grey(np.uint8, (high - low) / 255, low, high)
    return Grey(np.uint16, (high - low) / 65535, low, high)
