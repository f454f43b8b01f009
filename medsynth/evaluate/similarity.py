"""How alike two images are in structure, on a fixed range, [-1, 1]."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RANGE = 2.0
SIGMA, WINDOW = 1.5, 11  # of the Gaussian window (Wang et al. 2004, Section III-B)
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # fine to coarse (Wang et al. 2003, Section 3.2)


def scales_that_fit(shape: tuple[int, ...]) -> int:
    """At how many scales of MS-SSIM the window fits into an image (*spatial), each half as large as the one before."""
    return sum(min(shape) // 2**scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))


def ms_ssim(real: np.ndarray, made: np.ndarray) -> float:
    """Multi-scale structural similarity over as many of the five scales as fit; 1 for the same image.

    The weights of those scales are divided by their sum. A negative term counts as 0.

    Args:
        real, made: (C, *spatial) in [-1, 1], sides at least WINDOW.
    Source: Wang et al. 2003, "Multiscale structural similarity for image quality assessment", Eq. 7.
    """
    count = scales_that_fit(real.shape[1:])
    weights = np.array(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count])
    x, y = real.astype(np.float64), made.astype(np.float64)
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halved(x), _halved(y)
        luminance, structure = _terms(x, y)
        term = structure * luminance if scale == count - 1 else structure
        product *= max(float(term.mean()), 0.0) ** weight
    return product


def _terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance, and contrast times structure, where the window lies inside (Wang et al. 2004, Eqs. 6 and 13)."""
    half = WINDOW // 2
    inside = (slice(None), *[slice(half, -half)] * (x.ndim - 1))

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, (0, *[SIGMA] * (values.ndim - 1)), radius=half)[inside]

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of two neighbours along each spatial axis; an odd one at the end is left out."""
    for axis in range(1, image.ndim):
        even = image.shape[axis] // 2 * 2
        image = (image.take(range(0, even, 2), axis) + image.take(range(1, even, 2), axis)) / 2
    return image
