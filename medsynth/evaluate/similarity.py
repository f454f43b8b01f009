"""How like two images are, voxel by voxel: fixed measures on a fixed range, [-1, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity

RANGE = 2.0
LEAST_ERROR = (RANGE / 65535) ** 2 / 12  # of rounding to the store's grey levels: PSNR ends there, at 107 dB
SIGMA, WINDOW = 1.5, 11  # of the Gaussian window (Wang et al. 2004, section III-B)
NO_LUMINANCE = 1e6  # K1 so large that the luminance is 1, and contrast and structure are left
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
    if where is None:
        return _similarity(real, made)
    chosen = _similarity(real, made, full=True)[1][:, where]
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
        constants = {} if scale == count - 1 else {"K1": NO_LUMINANCE}
        found *= max(0.0, _similarity(real, made, **constants)) ** weight
    return found


def _similarity(real: np.ndarray, made: np.ndarray, **options: Any) -> Any:
    """As scikit-image has it, over Gaussian windows."""
    one, other = (image.astype(np.float64) for image in (real, made))
    window = {"gaussian_weights": True, "sigma": SIGMA, "use_sample_covariance": False}
    return structural_similarity(one, other, data_range=RANGE, channel_axis=0, **window, **options)


def _halved(image: np.ndarray) -> np.ndarray:
    """Averages of 2 voxels along each axis; an odd one at the end is left out."""
    even = (slice(None), *[slice(extent // 2 * 2) for extent in image.shape[1:]])
    return block_reduce(image[even], (1, *[2] * (image.ndim - 1)), np.mean)
