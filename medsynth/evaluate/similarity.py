"""How like two images are, voxel by voxel: fixed measures on a fixed range, [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

RANGE = 2.0
LEAST_ERROR = (RANGE / 65535) ** 2 / 12  # of rounding to the store's grey levels: PSNR ends there, at 107 dB
SIGMA, WINDOW = 1.5, 11  # of the Gaussian window (Wang et al. 2004, section III-B)
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from fine to coarse (Wang et al. 2003, section 3.2)


def psnr(real: np.ndarray, made: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB.

    Args:
        real, made: (C, *spatial) in [-1, 1].
        where: (*spatial) bool, the voxels that count; all if left out, nan where there are none.
    """
    squares = (real.astype(np.float64) - made) ** 2
    chosen = squares if where is None else squares[:, where]
    return 10 * float(np.log10(RANGE**2 / max(chosen.mean(), LEAST_ERROR))) if chosen.size else float("nan")


def ssim(real: np.ndarray, made: np.ndarray, where: np.ndarray | None = None) -> float:
    """Structural similarity (Wang et al. 2004, Eq. 13), the mean over voxels and channels.

    Args:
        real, made: (C, *spatial) in [-1, 1], sides at least WINDOW.
        where: (*spatial) bool, the voxels that count; all but a border of half a window if left out, nan where none.
    """
    luminance, structure = _maps(real, made)
    found = luminance * structure
    chosen = _inside(found) if where is None else found[:, where]
    return float(chosen.mean()) if chosen.size else float("nan")


def scales_that_fit(shape: tuple[int, ...]) -> int:
    """Scales of MS-SSIM at which the window fits into an image (*spatial)."""
    return sum(min(shape) // 2**scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))


def ms_ssim(real: np.ndarray, made: np.ndarray) -> float:
    """Multi-scale structural similarity (Wang et al. 2003, Eq. 7), over as many of its five scales as fit.

    The weights of the scales are taken over their sum. A negative structure counts as 0.

    Args:
        real, made: (C, *spatial) in [-1, 1].
    """
    count = scales_that_fit(real.shape[1:])
    weights = np.array(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count])
    found = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            real, made = _halved(real), _halved(made)
        luminance, structure = _maps(real, made)
        of_scale = luminance * structure if scale == count - 1 else structure
        found *= max(0.0, float(_inside(of_scale).mean())) ** weight
    return found


def _maps(real: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, *spatial) the luminance term, and that of contrast and structure, around each voxel."""
    x, y = real.astype(np.float64), made.astype(np.float64)
    mean_x, mean_y, squares_x, squares_y, products = map(_blurred, (x, y, x * x, y * y, x * y))
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    variances = squares_x - mean_x**2 + squares_y - mean_y**2
    return luminance, (2 * (products - mean_x * mean_y) + C2) / (variances + C2)


def _blurred(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image, (0, *[SIGMA] * (image.ndim - 1)), radius=WINDOW // 2)


def _inside(found: np.ndarray) -> np.ndarray:
    """Without the border in which the window leaves the image."""
    return found[(slice(None), *[slice(WINDOW // 2, -(WINDOW // 2))] * (found.ndim - 1))]


def _halved(image: np.ndarray) -> np.ndarray:
    """Averages of 2 voxels along each axis; an odd one at the end is left out."""
    for axis in range(1, image.ndim):
        image = np.moveaxis(image, axis, -1)
        image = image[..., : image.shape[-1] // 2 * 2]
        image = np.moveaxis(image.reshape(*image.shape[:-1], -1, 2).mean(-1), -1, axis)
    return image


def pairs(real: np.ndarray, made: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images two by two, in [-1, 1]; they are (n, C, *spatial) uint16, as the store keeps them."""
    for one, other in zip(real, made, strict=True):
        yield tuple(image.astype(np.float32) * (RANGE / 65535) - 1 for image in (one, other))
