"""Where the optic disc lies in a photograph of the whole fundus: the bright place that vessels cross upright.

Two signs, multiplied: a place of the disc's size that is brighter than its surroundings (Sinthanayothin et al. 1999,
Br J Ophthalmol 83:902), and steep edges along the image's rows, since the large vessels leave the disc upwards and
downwards (Mahfouz and Fahmy 2010, IEEE Trans Image Process 19:3285). A soft bright lesion lacks the second sign,
a large vessel elsewhere the first.

What it misses: the disc is taken to be as large as in a field of 45 degrees, and the eye to be upright. In a field of
100 degrees or more, in an image that was turned by a quarter, where neither sign is left (a dense cataract, blood
before the disc), or where a bright scar has edges of its own, it finds another place and does not notice. It does not
outline the disc.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medsynth.errors import InputError
from medsynth.images.content import DARK, content_box
from medsynth.images.geometry import Box, find_geometry

GRID = 128  # pixels a side on which it is looked for
RADIUS = 0.13 * GRID / 2  # of the disc: 0.9 mm (Jonas et al. 1988) of a field of 45 degrees, 6.7 mm in radius
RIM = 3  # pixels at the field's rim, whose own edge is none of the eye
ROUNDING = 1e-4  # of the range; an even image has no more
BOX = 1 / 3  # of the field's width: 15 of 45 degrees, two and a half discs


def disc_box(scaled: np.ndarray) -> Box:
    """The square about the optic disc, BOX of the field wide; it may reach beyond the image.

    Args:
        scaled: (3, H, W), red, green and blue in [-1, 1].
    Raises:
        InputError: no place has both signs of a disc.
    """
    box = content_box(scaled)
    centre = find_disc(scaled, box)
    side = round(BOX * max(high - low for low, high in box))
    return tuple((start, start + side) for start in (round(place - side / 2) for place in centre))


def find_disc(scaled: np.ndarray, field: Box) -> tuple[float, float]:
    """Row and column of the disc's middle, in pixels from the image's corner.

    Args:
        scaled: (3, H, W), red, green and blue in [-1, 1].
        field: the part of the image that shows the fundus.
    Raises:
        InputError: no place has both signs of a disc.
    """
    grid = find_geometry(scaled.shape[1:], (GRID, GRID), "pad", None, field)
    colour = grid.resample(scaled, -1.0)
    inside = ndimage.binary_fill_holes(colour.max(0) > 2 * DARK - 1)
    inside = ndimage.binary_erosion(inside, iterations=RIM)
    score = np.zeros(inside.shape)
    if inside.any():
        red_and_green = colour[:2].mean(0)
        lighter = _mean_about(red_and_green, inside, 0.7 * RADIUS) - _mean_about(red_and_green, inside, 3 * RADIUS)
        edges = np.abs(np.gradient(_mean_about(colour[1], inside, 1.0), axis=1))
        score = _above_mean(lighter, inside) * _above_mean(_mean_about(edges, inside, RADIUS), inside)
    if not score.any():
        raise InputError("no optic disc: no place is both brighter than its surroundings and crossed by vessels")
    place = np.unravel_index(np.argmax(score), score.shape)
    row, column = (
        start + (index + 0.5) / GRID * extent
        for index, start, extent in zip(place, grid.start, grid.extent, strict=True)
    )
    return float(row), float(column)


def _mean_about(values: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """The Gaussian mean about each pixel of those that are inside; sigma in pixels."""
    weight = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), sigma), 1e-3)
    return ndimage.gaussian_filter(np.where(inside, values, 0).astype(np.float32), sigma) / weight


def _above_mean(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """How far each pixel inside is above their mean; 0 below it and outside, and where it is rounding alone."""
    above = values - values[inside].mean()
    return np.where(inside & (above > ROUNDING), above, 0)
