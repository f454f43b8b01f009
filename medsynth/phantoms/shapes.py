"""Shapes in the image plane that are the same at any number of pixels: places, outlines, bands, what they cover.

Lengths are shares of the image's shorter side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medsynth.phantoms.phantom import NOT_APPLICABLE, Conditions


def places(size: Sequence[int]) -> np.ndarray:
    """(2, height, width) float64: y and x of each pixel's centre, from the top left corner."""
    side = min(size)
    return np.stack(np.meshgrid(*((np.arange(extent) + 0.5) / side for extent in size), indexing="ij"))


def cover(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 inside (distance below 0), 0 outside, `edge` wide between."""
    return 1 / (1 + np.exp(np.clip(4 * distance / edge, -50, 50)))


@dataclass(frozen=True)
class Blob:
    """An ellipse with a wavy outline.

    Attributes:
        centre: (y, x).
        radii: semi-axes, along y and x before the turn.
        turn: radians, from y towards x.
        waves: (order, amplitude as a share of the radius, phase) of each wave of the outline.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    turn: float = 0.0
    waves: tuple[tuple[int, float, float], ...] = ()

    def distance(self, place: np.ndarray) -> np.ndarray:
        """About the distance to the outline, negative inside; `place` is (2, *size)."""
        v, u = place[0] - self.centre[0], place[1] - self.centre[1]
        c, s = np.cos(self.turn), np.sin(self.turn)
        v, u = (v * c + u * s) / self.radii[0], (u * c - v * s) / self.radii[1]
        radius = np.hypot(v, u)
        outline: float | np.ndarray = 1.0
        if self.waves:
            unit = (u + 1j * v) / np.maximum(radius, 1e-12)  # its powers are the waves
            by_order = {order: 0j for order, _, _ in self.waves}
            for order, height, phase in self.waves:
                by_order[order] += height * np.exp(1j * phase)
            total = np.zeros_like(unit)
            for order in range(max(by_order), 0, -1):  # Horner's rule
                total = (total + by_order.get(order, 0)) * unit
            outline = np.maximum(1 + total.real, 0.2)
        return (radius - outline) * min(self.radii)


def draw_waves(
    rng: np.random.Generator, height: float, orders: Sequence[int] = (2, 3, 4, 5)
) -> tuple[tuple[int, float, float], ...]:
    """Waves of an outline: amplitudes fall with their order; `height` is about that of the whole."""
    return tuple((n, float(height / n * rng.normal()), float(rng.uniform(0, 2 * np.pi))) for n in orders)


def to_line(place: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance (*size) of each place (2, *size) to a line through points (n, 2), each (y, x)."""
    distance = np.full(place.shape[1:], np.inf)
    for a, b in pairwise(points):
        along = b - a
        start = a[:, None, None]
        t = (np.tensordot(along, place - start, 1) / (along @ along)).clip(0, 1)
        distance = np.minimum(distance, np.linalg.norm(place - start - along[:, None, None] * t, axis=0))
    return distance


def pool(fine: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(..., *size): means of the pixels of a finer image (..., H, W), whose sides are whole multiples."""
    rows, columns = (n // m for n, m in zip(fine.shape[-2:], size, strict=True))
    parts = (fine[..., row::rows, column::columns] for row in range(rows) for column in range(columns))
    return sum(parts) / (rows * columns)


def measure_lesion(labels: np.ndarray, number: int) -> Conditions:
    """Centroid and equivalent diameter of what a label map (height, width) calls so, as shares of the image."""
    rows, columns = np.nonzero(labels == number)
    if len(rows) == 0:
        return dict.fromkeys(("lesion_x", "lesion_y", "lesion_size"), NOT_APPLICABLE)
    height, width = labels.shape
    return {
        "lesion_x": float((columns.mean() + 0.5) / width),
        "lesion_y": float((rows.mean() + 0.5) / height),
        "lesion_size": float(2 * np.sqrt(len(rows) / np.pi) / width),
    }
