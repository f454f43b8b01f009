"""Texture: how much an image varies at each scale, and how unevenly. Pure functions of intensities.

The power spectrum tells smooth from noisy, and is blind to how the variation is spread: mottle and a few sharp edges
can have the same one. The kurtosis of differences between neighbours tells these apart.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BANDS = 6  # half octaves of spatial frequency, up to the highest
SCALES = 3  # of the differences between neighbours: 1, 2 and 4 pixels
VISIBLE = (2 / 255) ** 2 / 12  # variance of rounding to 8 bits, on intensities in [-1, 1]: less is not seen


def texture(images: np.ndarray) -> np.ndarray:
    """Logarithms of the power in each band and of the kurtosis at each scale, of every channel.

    Args:
        images: intensities (n, C, *spatial) in [-1, 1].
    Returns:
        float64 (n, C (bands + scales)); small images have fewer of either.
    """
    images = images.astype(np.float64)
    count = len(images)
    return np.concatenate(
        [np.log(band_power(images) + VISIBLE).reshape(count, -1), np.log(kurtosis(images)).reshape(count, -1)], 1
    )


def spectrum_db(images: np.ndarray) -> np.ndarray:
    """Mean power density in each band, in dB of the intensity's square, of every channel.

    Args:
        images: intensities (n, C, *spatial) in [-1, 1].
    Returns:
        float64 (n, C, bands), coarse to fine.
    """
    return 10 * np.log10(band_power(images.astype(np.float64)) + VISIBLE)


def spectrum_distance_db(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference of the mean spectra of two sets, over bands and channels.

    Args:
        a, b: (n, C, bands) and (m, C, bands) of `spectrum_db`.
    """
    return float(np.sqrt(((b.mean(0) - a.mean(0)) ** 2).mean()))


def finest_octave_db(a: np.ndarray, b: np.ndarray) -> float:
    """By how much the power of b in the finest octave, two bands, is above that of a; 3 dB is twice, -3 dB half of it.

    Args:
        a, b: as of `spectrum_distance_db`.
    """
    return float((b.mean(0) - a.mean(0))[..., -2:].mean())


def band_power(images: np.ndarray) -> np.ndarray:
    """Mean power density of the images (n, C, *spatial) in radial frequency bands: (n, C, bands), coarse to fine.

    White noise of variance s^2 has s^2 in each band. The mean is taken off and the borders are faded out by a Hann
    window, since a jump from one border to the other has power at every frequency.
    """
    shape = images.shape[2:]
    window = np.ones(shape)
    radius = np.zeros(shape)
    for axis, extent in enumerate(shape):
        along = [1] * len(shape)
        along[axis] = extent
        window = window * np.hanning(extent + 2)[1:-1].reshape(along)
        radius = radius + np.fft.fftfreq(extent).reshape(along) ** 2
    axes = tuple(range(2, images.ndim))
    centred = images - (images * window).sum(axes, keepdims=True) / window.sum()
    power = np.abs(np.fft.fftn(centred * window, axes=axes)) ** 2 / (window**2).sum()
    edges = [*(0.5 * 2 ** (-step / 2) for step in range(BANDS, 0, -1)), np.inf]  # cycles a pixel
    radius = np.sqrt(radius)
    within = [(low <= radius) & (radius < high) for low, high in pairwise(edges)]
    return np.stack([power[..., band].mean(-1) for band in within if band.any()], -1)


def kurtosis(images: np.ndarray) -> np.ndarray:
    """E[d^4] / E[d^2]^2 of the differences d of neighbours at each scale: (n, C, scales), fine to coarse.

    3 for Gaussian differences, 6 for Laplacian ones. A scale's neighbours are means of pairs of the one before it, as
    in a Haar transform (Mallat 1989). Rounding noise is added to both moments: an image that is flat has 3.
    """
    found = []
    for _ in range(SCALES):
        if min(images.shape[2:]) < 4:
            break
        second, fourth = 0.0, 0.0
        for axis in range(2, images.ndim):
            even, odd = _pairs(images, axis)
            difference = ((even - odd) / np.sqrt(2)).reshape(*images.shape[:2], -1)
            second = second + (difference**2).mean(-1) / (images.ndim - 2)
            fourth = fourth + (difference**4).mean(-1) / (images.ndim - 2)
        # Moments of d + e for an independent Gaussian e of variance v: E[d^2] + v, and E[d^4] + 6 v E[d^2] + 3 v^2.
        found.append((fourth + 6 * VISIBLE * second + 3 * VISIBLE**2) / (second + VISIBLE) ** 2)
        for axis in range(2, images.ndim):
            even, odd = _pairs(images, axis)
            images = (even + odd) / 2
    return np.stack(found, -1) if found else np.ones((*images.shape[:2], 0))


def _pairs(images: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Every second one along an axis, and its neighbour."""
    even = images.shape[axis] // 2 * 2
    return images.take(range(0, even, 2), axis), images.take(range(1, even, 2), axis)


def ends(images: np.ndarray) -> np.ndarray:
    """(n, 2) the share of an image's pixels that are as dark and as bright as can be, as 8 bits show it.

    Args:
        images: uint16 (n, C, *spatial) as the store keeps them.
    """
    flat = images.reshape(len(images), -1)
    return np.stack([(flat < 128).mean(1), (flat >= 65535 - 128).mean(1)], 1)
