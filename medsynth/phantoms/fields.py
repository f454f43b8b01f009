"""Random fields that show the same at any number of pixels; more pixels show finer detail of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FINEST = 256  # pixels along the shorter side that fields are drawn for, whatever the size


def power_law(rng: np.random.Generator, size: Sequence[int], slope: float, low: float = 0.0) -> np.ndarray:
    """A Gaussian field (height, width) whose amplitude falls as frequency to the power of `slope`; periodic.

    The variance is 1 for FINEST pixels along the shorter side; fewer pixels have less, without the high frequencies.

    Args:
        slope: of the amplitude; the power spectrum falls with twice as much.
        low: cycles along the shorter side below which nothing is drawn.
    """
    side = min(size)
    whole = tuple(2 * round(FINEST * extent / side / 2) for extent in size)
    frequency = FINEST * np.hypot(np.fft.fftfreq(whole[0])[:, None], np.fft.rfftfreq(whole[1]))
    gain = np.where(frequency > max(low, 1e-9), np.maximum(frequency, 1e-9) ** -slope, 0)
    spectrum = np.fft.rfft2(rng.standard_normal(whole), norm="forward") * gain
    both = np.full(gain.shape[1], 2.0)  # columns that stand for their mirror image too
    both[[0, -1]] = 1
    power = (np.abs(spectrum) ** 2 * both).sum()
    rows = min(size[0], whole[0])
    up, down = (rows + 1) // 2, rows // 2
    columns = min(size[1], whole[1]) // 2 + 1
    kept = np.zeros((size[0], size[1] // 2 + 1), complex)
    kept[:up, :columns] = spectrum[:up, :columns]
    kept[kept.shape[0] - down :, :columns] = spectrum[spectrum.shape[0] - down :, :columns]
    return np.fft.irfft2(kept, tuple(size), norm="forward") / np.sqrt(power)


def smooth(rng: np.random.Generator, size: Sequence[int], cells: int) -> np.ndarray:
    """A smooth field (height, width) of about `cells` independent values along each axis; about unit variance."""
    nodes = rng.standard_normal((cells, cells))
    down, across = (_weights(cells, extent) for extent in size)
    return down @ nodes @ across.T


def _weights(cells: int, extent: int) -> np.ndarray:
    """(extent, cells) Gaussian weights of unit norm of each pixel's place: each pixel's variance is 1."""
    distance = (np.arange(extent) + 0.5)[:, None] / extent * cells - (np.arange(cells) + 0.5)
    weights = np.exp(-0.5 * (distance / 0.6) ** 2)
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)
