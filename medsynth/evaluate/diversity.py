"""Diversity: do the synthetic images lie where real ones do (density), and everywhere that real ones do (coverage)?"""

from __future__ import annotations

import numpy as np


def density(real: np.ndarray, synthetic: np.ndarray, neighbours: int) -> float:
    """Mean number of real neighbourhoods that hold a synthetic image, over k. Higher is better; 1 for the same source.

    Args:
        real, synthetic: features (n, d) and (m, d).
        neighbours: k, below n; a real image's neighbourhood reaches to its k-th nearest other real image.
    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models",
        Section 3.
    """
    return float(_inside(real, synthetic, neighbours).sum() / (neighbours * len(synthetic)))


def coverage(real: np.ndarray, synthetic: np.ndarray, neighbours: int) -> float:
    """Share of real images whose neighbourhood holds a synthetic image. Higher is better.

    Below 1 even for the same source, and rising with the number of synthetic images: compare at the same n and m.

    Source: Naeem et al. 2020, Section 3.
    """
    return float(_inside(real, synthetic, neighbours).any(1).mean())


def _inside(real: np.ndarray, synthetic: np.ndarray, neighbours: int) -> np.ndarray:
    """(n, m): is synthetic image j inside the neighbourhood of real image i?"""
    # An image is at distance 0 from itself, so that its k-th other neighbour stands at index k.
    radius = np.partition(_squared_distances(real, real), neighbours, axis=1)[:, neighbours]
    return _squared_distances(real, synthetic) <= radius[:, None]


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    centre = x.mean(0)  # keeps the difference of large squares exact
    x, y = x - centre, y - centre
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T, 0.0)
