"""A plane through a body: tissues are painted over each other, each pixel holding the share that each one covers.

Places and lengths are in cm, (y, x) from an origin near the middle of the field, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medsynth.phantoms.shapes import Blob, cover, places


@dataclass(frozen=True)
class Solid:
    """A body in space whose sections across z are blobs: an ellipsoid, perhaps with a wavy outline.

    Attributes:
        blob: the largest section.
        middle: its z.
        half: semi-axis along z.
    """

    blob: Blob
    middle: float
    half: float

    def at(self, z: float) -> Blob | None:
        """The section at z; None where the plane misses the body."""
        square = 1 - ((z - self.middle) / self.half) ** 2
        if square <= 0:
            return None
        (down, across), share = self.blob.radii, float(np.sqrt(square))
        return Blob(self.blob.centre, (down * share, across * share), self.blob.turn, self.blob.waves)


class Section:
    """The values and the label map of one plane.

    Attributes:
        place: (2, height, width) y and x of each pixel's centre in cm.
        pixel: its side in cm.
        origin: (row, column) of the place (0, 0), in pixels from the corner.
        values: float64 (height, width).
        labels: uint8 (height, width).
    """

    def __init__(
        self, size: Sequence[int], field: float, background: float, shift: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """`field` is the length of the image's shorter side in cm, `shift` moves the places' origin from its middle."""
        self.size = (size[0], size[1])
        self.pixel = field / min(size)
        self.origin = np.array(self.size) / 2 + np.array(shift) / self.pixel  # (row, column), in pixels
        self.place = places(size) * field - (self.origin * self.pixel).reshape(2, 1, 1)
        self.values = np.full(self.size, background)
        self.labels = np.zeros(self.size, np.uint8)

    def window(self, blob: Blob, edge: float) -> tuple[slice, slice]:
        """The rows and columns that a blob may touch."""
        reach = max(blob.radii) * (1 + sum(abs(height) for _, height, _ in blob.waves)) + 2 * edge
        bounds = []
        for axis in range(2):
            low = (blob.centre[axis] - reach) / self.pixel + self.origin[axis]
            high = (blob.centre[axis] + reach) / self.pixel + self.origin[axis]
            bounds.append(slice(max(int(low), 0), max(int(high) + 1, 0)))
        return bounds[0], bounds[1]

    def share(self, blob: Blob, edge: float = 0.0) -> np.ndarray:
        """(height, width) share of each pixel that a blob covers."""
        share = np.zeros(self.size)
        at = self.window(blob, max(edge, self.pixel))
        share[at] = cover(blob.distance(self.place[:, at[0], at[1]]), max(edge, self.pixel))
        return share

    def paint(self, blob: Blob | None, value: float, number: int | None = None, edge: float = 0.0) -> None:
        """Fill a blob with a tissue.

        Args:
            number: of the label map, where more than half of the pixel is covered; None leaves the labels.
            edge: width of the border in cm; a pixel at least.
        """
        if blob is None:
            return
        at = self.window(blob, max(edge, self.pixel))
        share = cover(blob.distance(self.place[:, at[0], at[1]]), max(edge, self.pixel))
        self.values[at] += share * (value - self.values[at])
        if number is not None:
            self.labels[at][share > 0.5] = number

    def mix(self, share: np.ndarray, value: float | np.ndarray, number: int | None = None) -> None:
        """Fill by a share (height, width) of each pixel; a label goes where it covers half, or else the most."""
        self.values += share * (value - self.values)
        if number is not None and share.max() > 0:
            self.labels[share >= min(0.5, share.max())] = number

    def deposit(self, points: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """(height, width) share of each pixel that small discs cover: points (n, 2) in cm, areas (n,) in cm2."""
        at = points / self.pixel + self.origin - 0.5
        low = np.floor(at).astype(int)
        part = at - low
        total = np.zeros(self.size[0] * self.size[1])
        for down in (0, 1):
            for across in (0, 1):
                row, column = low[:, 0] + down, low[:, 1] + across
                weight = np.abs(1 - down - part[:, 0]) * np.abs(1 - across - part[:, 1]) * areas
                inside = (row >= 0) & (row < self.size[0]) & (column >= 0) & (column < self.size[1])
                index = row[inside] * self.size[1] + column[inside]
                total += np.bincount(index, weight[inside], len(total))
        return np.clip(total.reshape(self.size) / self.pixel**2, 0, 1)


def inset(blob: Blob, by: float) -> Blob:
    """The blob whose outline lies `by` further in; a negative one grows it."""
    down, across = (max(radius - by, 0.05) for radius in blob.radii)
    return Blob(blob.centre, (down, across), blob.turn, blob.waves)


def on_rim(blob: Blob, angle: float) -> tuple[float, float, float]:
    """y and x of an ellipse's point at an angle from +x towards +y, and the direction of its tangent."""
    down, across = blob.radii
    y, x = down * np.sin(angle), across * np.cos(angle)
    tangent = float(np.arctan2(down * np.cos(angle), -across * np.sin(angle)))
    return blob.centre[0] + y, blob.centre[1] + x, tangent
