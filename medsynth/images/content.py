"""Where in an image something is imaged: the field of an eye, a scanner's fan, a body, without marks beside it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medsynth.images.geometry import Box

DARK = 0.06  # of the range, above its lower end: a surround of JPEG's noise or of air
LOOKED_AT = 128  # voxels along the longest axis, about, on which content is looked for


def content_box(scaled: np.ndarray) -> Box:
    """The smallest box around the largest connected part that is not dark; all of the image where nothing is.

    Marks that somebody has burnt in stay outside, unless they touch that part.

    Args:
        scaled: (C, *spatial) in [-1, 1].
    """
    shape = scaled.shape[1:]
    step = max(1, max(shape) // LOOKED_AT)
    shown = scaled.max(0)[tuple(slice(step // 2, None, step) for _ in shape)]
    bright = ndimage.median_filter(shown, 3) > 2 * DARK - 1  # single bright voxels of noise join nothing
    parts, count = ndimage.label(bright)
    if not count:
        return tuple((0, length) for length in shape)
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    found = ndimage.find_objects(parts)[largest - 1]
    return tuple(
        (max(0, axis.start * step), min(length, axis.stop * step)) for axis, length in zip(found, shape, strict=True)
    )


def is_brighter_on_the_right(voxels: np.ndarray) -> bool:
    """Whether the second half of the last axis of (C, *spatial) is brighter: of a mammogram, where the breast is."""
    half = voxels.shape[-1] // 2
    return float(voxels[..., voxels.shape[-1] - half :].mean()) > float(voxels[..., :half].mean())
