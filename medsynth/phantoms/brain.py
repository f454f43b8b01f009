"""A person's brain in a plane: the MNI152 tissue maps, deformed, with ventricles and sulci that widen with age.

The maps are the grey and white matter probabilities of the ICBM 2009a nonlinear template (Fonov et al. 2011,
NeuroImage 54:313), as the package nilearn carries them: 1 mm, x to the left hand of the viewer's right, RAS+.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import binary_closing, distance_transform_edt, gaussian_filter, map_coordinates

from medsynth.errors import InputError
from medsynth.phantoms.fields import power_law, smooth

MAPS = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
ORIGIN = (98.0, 134.0, 72.0)  # voxel of the anterior commissure
COARSE = 3  # voxels of the template in one of the outline's
SHARPNESS = 2.6  # power of the odds of a tissue
VENTRICLES = ((-12.0, 13.0), (12.0, 13.0), (-22.0, -32.0), (22.0, -32.0))  # (x, y) of their middles in mm


@dataclass(frozen=True)
class Brain:
    """Tissues of a plane, each (height, width).

    Attributes:
        grey, white, fluid: shares of a pixel within the meninges, which add up to `inside`.
        outside: mm from the meninges, negative within.
        x, y: the template's place of each pixel in mm: to the patient's left, forwards.
    """

    grey: np.ndarray
    white: np.ndarray
    fluid: np.ndarray
    outside: np.ndarray
    x: np.ndarray
    y: np.ndarray


@lru_cache(maxsize=1)
def template() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey and white matter (197, 233, 189) as uint8 of 255, and mm outside the brain, smooth and coarser.

    Raises:
        InputError: nilearn is not installed, or without the maps.
    """
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the brain phantom takes its tissue maps from the package nilearn, which is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"
    maps = []
    for tissue in ("gm", "wm"):
        path = folder / MAPS.format(tissue)
        if not path.is_file():
            raise InputError(f"nilearn has no tissue map {path.name}, expected version 0.13")
        maps.append(np.asarray(nibabel.load(path).dataobj))  # type: ignore[attr-defined]
    grey, white = maps
    coarse = (grey.astype(np.float32) + white)[::COARSE, ::COARSE, ::COARSE] > 100
    brain = binary_closing(np.pad(coarse, 8), iterations=6)[8:-8, 8:-8, 8:-8]
    outside = distance_transform_edt(~brain) - distance_transform_edt(brain)
    return grey, white, gaussian_filter(outside.astype(np.float32), 1.2) * COARSE


def atrophy(age: float) -> float:
    """0 for a young adult to 1 at a hundred: loss quickens late in life.

    The power is a choice; many structures change their rate at some age (Fjell et al. 2013, Neurobiol Aging 34:2239).
    """
    return float(np.clip((age - 20) / 80, 0, 1) ** 1.7)


def draw_brain(rng: np.random.Generator, place: np.ndarray, level: float, age: float) -> Brain:
    """One person's brain.

    Args:
        place: (2, height, width) mm down (backwards) and to the viewer's right from the middle of the head.
        level: mm above the commissures.
        age: in years.
    """
    outside = template()[2]
    size = place.shape[1:]
    stretch, wide = 1 + 0.05 * rng.standard_normal(2)
    turn, tilt, drift, person = 0.06 * rng.standard_normal(), *rng.normal(0, (0.05, 2.0)), rng.uniform(0.6, 1.4)
    warp = [1.8 * smooth(rng, size, 9) + 1.0 * smooth(rng, size, 16) for _ in range(3)]
    folds = power_law(rng, size, 0.6, 12)
    down, right = place
    x = (right * np.cos(turn) + down * np.sin(turn)) / wide + drift
    y = -(down * np.cos(turn) - right * np.sin(turn)) / stretch - 18
    loss = person * atrophy(age)
    rim = np.stack([x + ORIGIN[0], y + ORIGIN[1], level + tilt * y + ORIGIN[2]]) / COARSE
    out = map_coordinates(outside, rim, order=1, mode="nearest") - 2.0 - 1.5 * loss
    shares = tissues((x, y, level + tilt * y), warp, folds, loss, out)
    return Brain(shares[0], shares[1], shares[2], out, x, y)


def tissues(
    place: tuple[np.ndarray, np.ndarray, np.ndarray],
    warp: Sequence[np.ndarray],
    folds: np.ndarray,
    loss: float,
    out: np.ndarray,
    height: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Shares (3, *size) of grey matter, white matter and fluid.

    Args:
        place: x, y and z of the template in mm, each (*size).
        warp: mm that each axis is moved by, three of (*size).
        folds: of unit variance (*size), where sulci open.
        loss: of tissue; see `atrophy`.
        out: mm from the meninges (*size).
        height: how much of the ventricles' widening there is at a height, 0 to 1.
    """
    grey, white, _ = template()
    x, y, z = place
    source = [x + warp[0], y + warp[1]]
    for cx, cy in VENTRICLES:  # what is near a ventricle moves outwards
        near = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 15**2)) * (0.05 + 0.5 * min(loss, 1.1)) * height
        source[0] = source[0] - (x - cx) * near
        source[1] = source[1] - (y - cy) * near
    inside = out < 3.0
    depth = z + warp[2]
    voxels = np.stack([at[inside] + origin for at, origin in zip((*source, depth), ORIGIN, strict=True)])
    g, w = (map_coordinates(tissue, voxels, np.float32, order=1, cval=0) / 255 for tissue in (grey, white))
    # A mean of many brains is blurred; each person's own tissue is sharp, and its sulci lie elsewhere.
    odds = np.stack([g, w, np.maximum(1 - g - w, 0) * (1.05 + 0.6 * loss)])
    odds = np.maximum(odds, 1e-4) ** SHARPNESS
    odds[2] *= np.exp(1.4 * folds[inside])
    shares = np.zeros((3, *out.shape))
    shares[:, inside] = odds / odds.sum(0) / (1 + np.exp(np.clip(out[inside] / 0.4, -40, 40)))
    return shares


def draw_spot(rng: np.random.Generator, level: float, depth: float) -> tuple[float, float]:
    """A random point (x, y) of the brain at a level in the template's mm, `depth` mm or more from its surface.

    If no tried point lies that deep, the deepest one is taken.
    """
    outside = template()[2]
    tried = np.stack([rng.uniform(12, 55, 60) * rng.choice([-1, 1], 60), rng.uniform(-85, 50, 60)])
    at = np.stack([tried[0] + ORIGIN[0], tried[1] + ORIGIN[1], np.full(60, level + ORIGIN[2])]) / COARSE
    deep = -map_coordinates(outside, at, order=1, mode="nearest")
    first = int(np.argmax(deep >= depth)) if (deep >= depth).any() else int(np.argmax(deep))
    return float(tried[0, first]), float(tried[1, first])
