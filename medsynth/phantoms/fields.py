"""Random fields that show the same at any number of pixels; more pixels show finer detail of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

FINEST = 256  # pixels along the shorter side that fields are drawn for, whatever the size


def power_law(rng: np.random.Generator, size: Sequence[int], slope: float, low: float = 0.0) -> np.ndarray:
    """A Gaussian field (height, width) whose amplitude falls as frequency to the power of `slope`; periodic.

    The variance is 1 for FINEST pixels along the shorter side; fewer pixels have less, without the high frequencies.

    Args:
        slope: of the amplitude; the power spectrum falls with twice as much.
        low: cycles along the shorter side below which nothing is drawn.
    """

    def gain(down: np.ndarray, across: np.ndarray) -> np.ndarray:
        frequency = np.hypot(down, across)
        return np.where(frequency > max(low, 1e-9), np.maximum(frequency, 1e-9) ** -slope, 0)

    return spectral(rng, size, gain)


def spectral(
    rng: np.random.Generator, size: Sequence[int], amplitude: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """A Gaussian field (height, width) of any spectrum; periodic, and of variance 1 as `power_law` is.

    Args:
        amplitude: of the frequencies (down, across) in cycles along the shorter side, which broadcast.
    """
    side = min(size)
    whole = tuple(2 * round(FINEST * extent / side / 2) for extent in size)
    gain = amplitude(FINEST * np.fft.fftfreq(whole[0])[:, None], FINEST * np.fft.rfftfreq(whole[1]))
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


def smooth(rng: np.random.Generator, size: Sequence[int], cells: int | tuple[int, int]) -> np.ndarray:
    """A smooth field (height, width) of about `cells` independent values along each axis; about unit variance."""
    cells = (cells, cells) if isinstance(cells, int) else cells
    nodes = rng.standard_normal(cells)
    down, across = (_weights(number, extent) for number, extent in zip(cells, size, strict=True))
    return down @ nodes @ across.T


def octaves(rng: np.random.Generator, size: Sequence[int], gains: Mapping[int, float]) -> np.ndarray:
    """A sum of `smooth` fields (height, width), of the longer side's cells → standard deviation.

    Cells are square; those of less than a pixel and a half are left out. Faster than `power_law` for few pixels.
    """
    side = max(size)
    total = np.zeros((side, side))
    for cells, gain in sorted(gains.items()):
        if 1.5 * cells <= side:
            total += gain * smooth(rng, (side, side), cells)
    top, left = ((side - extent) // 2 for extent in size)
    return total[top : top + size[0], left : left + size[1]]


@lru_cache(maxsize=64)
def _weights(cells: int, extent: int) -> np.ndarray:
    """(extent, cells) Gaussian weights of unit norm of each pixel's place: each pixel's variance is 1."""
    distance = (np.arange(extent) + 0.5)[:, None] / extent * cells - (np.arange(cells) + 0.5)
    weights = np.exp(-0.5 * (distance / 0.6) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights.setflags(write=False)
    return weights


def smooth_at(rng: np.random.Generator, places: Sequence[np.ndarray], cells: Sequence[int]) -> np.ndarray:
    """A smooth field in space as `smooth`, at any places: float32 (len(z), len(y), len(x)), unit variance.

    Args:
        places: along z, y and x, as shares of the block.
        cells: independent values along each.
    """
    field = rng.standard_normal(tuple(cells))
    for axis, (at, number) in enumerate(zip(places, cells, strict=True)):
        weights = np.exp(-0.5 * ((np.asarray(at)[:, None] * number - np.arange(number) - 0.5) / 0.6) ** 2)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
    return field.astype(np.float32)
