"""Bodies in space as functions of place: ellipsoids, lofts and tubes, and what is made of them.

Places and lengths are in cm, (z, y, x) as in `torso`'s patient: z towards the feet, y to the back, x to the left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Triple = tuple[float, float, float]
Numbers = Sequence[float] | np.ndarray
Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
EVERYWHERE = (-1e3, -1e3, -1e3), (1e3, 1e3, 1e3)


@dataclass(frozen=True)
class Body:
    """A body in space.

    Attributes:
        distance: of arrays z, y, x that broadcast; negative inside, near the surface about the distance in cm.
        low, high: corners of a box that holds the body.
        half: its smallest half-width, so that a body thinner than a voxel covers a part of it.
        thin: along how many axes it is that thin: 1 a sheet, 2 a tube, 3 a ball.
    """

    distance: Distance
    low: tuple[float, ...] = EVERYWHERE[0]
    high: tuple[float, ...] = EVERYWHERE[1]
    half: float = np.inf
    thin: int = 1

    def grown(self, by: float) -> Body:
        """The body whose surface lies `by` further out; a negative one shrinks it."""
        low = tuple(float(v) - by for v in self.low)
        high = tuple(float(v) + by for v in self.high)
        return Body(lambda z, y, x: self.distance(z, y, x) - by, low, high, max(self.half + by, 0.01), self.thin)

    def __and__(self, other: Body) -> Body:
        low = tuple(map(max, self.low, other.low))
        high = tuple(map(min, self.high, other.high))
        return Body(lambda z, y, x: np.maximum(self.distance(z, y, x), other.distance(z, y, x)), low, high)

    def __or__(self, other: Body) -> Body:
        low = tuple(map(min, self.low, other.low))
        high = tuple(map(max, self.high, other.high))
        return Body(lambda z, y, x: np.minimum(self.distance(z, y, x), other.distance(z, y, x)), low, high)

    def __sub__(self, other: Body) -> Body:
        both = self & Body(lambda z, y, x: -other.distance(z, y, x))
        return Body(both.distance, self.low, self.high)


def half_space(normal: Numbers, offset: float) -> Body:
    """Places whose product with `normal` (z, y, x) is below `offset`."""
    length = float(np.linalg.norm(normal))
    a, b, c = (float(part) / length for part in normal)
    return Body(lambda z, y, x: a * z + b * y + c * x - offset / length)


def draw_bumps(rng: np.random.Generator, height: float, count: int = 6, pitch: float = 3.0) -> np.ndarray:
    """Bumps of a surface, (count, 5): wave vector per unit of direction (z, y, x), height as a share, phase."""
    waves = rng.normal(0, pitch, (count, 3))
    return np.column_stack([waves, height * rng.normal(0, 1, count) / np.sqrt(count), rng.uniform(0, 2 * np.pi, count)])


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """(3, 3) rows are a body's own axes in (z, y, x): turned about z (y to x), about x (z to y), about y (z to x)."""

    def plane(first: int, second: int, angle: float) -> np.ndarray:
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = np.sin(angle), -np.sin(angle)
        return turn

    return plane(1, 2, yaw) @ plane(0, 1, pitch) @ plane(0, 2, roll)


def ellipsoid(
    centre: Numbers,
    radii: Numbers,
    axes: np.ndarray | None = None,
    bumps: np.ndarray | None = None,
) -> Body:
    """An ellipsoid with semi-axes `radii` along the rows of `axes`, those of (z, y, x) if None; perhaps bumpy."""
    own = np.eye(3) if axes is None else axes
    height = 0.0 if bumps is None else float(np.abs(bumps[:, 3]).sum())
    reach = np.sqrt(((own * np.array(radii)[:, None]) ** 2).sum(0)) * (1 + height)

    def distance(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        d = [z - centre[0], y - centre[1], x - centre[2]]
        if axes is None:
            p = [part / radius for part, radius in zip(d, radii, strict=True)]
        else:
            p = [sum(own[i, k] * d[k] for k in range(3)) / radii[i] for i in range(3)]
        square = p[0] ** 2 + p[1] ** 2 + p[2] ** 2
        root = np.sqrt(square)
        outline: float | np.ndarray = 1.0
        if bumps is not None:
            inverse = 1 / np.maximum(root, 1e-6)
            for a, b, c, share, phase in bumps:
                outline = outline + share * np.sin((a * p[0] + b * p[1] + c * p[2]) * inverse + phase)
        # The value over the length of the gradient: a distance near the surface, also of a flat ellipsoid.
        slope = np.sqrt((p[0] / radii[0]) ** 2 + (p[1] / radii[1]) ** 2 + (p[2] / radii[2]) ** 2)
        return (root - outline) * root / np.maximum(slope, 1e-6)

    low = tuple(float(c - r) for c, r in zip(centre, reach, strict=True))
    high = tuple(float(c + r) for c, r in zip(centre, reach, strict=True))
    return Body(distance, low, high, float(min(radii)), 3)


def loft(
    at: Numbers,
    centre_y: Numbers | float,
    centre_x: Numbers | float,
    half_y: Numbers | float,
    half_x: Numbers | float,
    power: float = 2.0,
) -> Body:
    """A body of elliptic sections across z, of places and half-axes that are linear between the heights `at`.

    Args:
        at: heights, rising; the body ends flat at the first and the last.
        power: of the superellipse: 2 an ellipse, more a rounded box.
    """
    knots = np.asarray(at, float)
    rows = [np.broadcast_to(np.asarray(row, float), knots.shape) for row in (centre_y, centre_x, half_y, half_x)]

    def distance(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        cy, cx, hy, hx = (np.interp(z, knots, row).astype(np.float32) for row in rows)
        u, v = np.abs(x - cx) / hx, np.abs(y - cy) / hy
        radius = np.hypot(u, v) if power == 2 else (u**power + v**power) ** (1 / power)
        inside = (radius - 1) * np.minimum(hy, hx)
        return np.maximum(inside, np.maximum(knots[0] - z, z - knots[-1]).astype(np.float32))

    cy, cx, hy, hx = rows
    low = (float(knots[0]), float((cy - hy).min()), float((cx - hx).min()))
    high = (float(knots[-1]), float((cy + hy).max()), float((cx + hx).max()))
    return Body(distance, low, high)


def tube(points: np.ndarray, radii: Numbers | float) -> list[Body]:
    """The pieces of a bent tube through points (n, 3): each a line with round ends whose radius changes evenly."""
    wide = np.broadcast_to(np.asarray(radii, float), (len(points),))
    return [_piece(a, b, ra, rb) for (a, ra), (b, rb) in pairwise(zip(np.asarray(points, float), wide, strict=True))]


def _piece(a: np.ndarray, b: np.ndarray, start: float, end: float) -> Body:
    along = b - a
    square = max(float(along @ along), 1e-9)

    def distance(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        d = (z - a[0], y - a[1], x - a[2])
        t = np.clip((d[0] * along[0] + d[1] * along[1] + d[2] * along[2]) / square, 0, 1)
        far = sum((part - t * way) ** 2 for part, way in zip(d, along, strict=True))
        return np.sqrt(far) - (start + (end - start) * t)

    wide = max(start, end)
    low, high = np.minimum(a, b) - wide, np.maximum(a, b) + wide
    return Body(distance, tuple(map(float, low)), tuple(map(float, high)), min(start, end), 2)


def curve(points: Sequence[Numbers] | np.ndarray, count: int) -> np.ndarray:
    """(count, 3) places at even shares of the way along a smooth curve through points, by Catmull and Rom 1974."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    at = np.linspace(0, len(p) - 3 - 1e-9, count)
    i, t = at.astype(int), (at % 1)[:, None]
    a, b, c, d = (p[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def fork(
    rng: np.random.Generator,
    start: Numbers,
    aim: np.ndarray,
    radius: float,
    length: float,
    generations: int,
    stretch: Numbers = (1.0, 1.0, 1.0),
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A tree of vessels; each fork divides as r^3 = 2 r'^3 (Murray 1926, PNAS 12:207).

    Args:
        start: where it begins.
        aim: (n, 3) directions of the first branches.
        radius, length: of the first branches in cm.
        stretch: of the branches along (z, y, x).
    Returns:
        lines (branches, 6, 3) and radii (branches, 6) of each generation.
    """
    begin, tree = np.repeat(np.asarray(start, float)[None], len(aim), 0), []
    for _ in range(generations):
        aim = aim / np.linalg.norm(aim, axis=1, keepdims=True)
        reach = length * rng.uniform(0.7, 1.25, (len(aim), 1, 1))
        bend = 0.12 * length * rng.standard_normal((len(aim), 1, 3))
        at = np.linspace(0, 1, 6)[:, None]
        lines = begin[:, None] + reach * at * aim[:, None] * np.asarray(stretch) + bend * at * (1 - at)
        tree.append((lines, radius * (1 - 0.2 * at[:, 0]) * rng.uniform(0.8, 1.2, (len(aim), 1))))
        turn = 0.45 * rng.standard_normal(aim.shape)
        begin = np.repeat(lines[:, -1], 2, axis=0)
        aim = np.stack([aim + turn, aim - turn], 1).reshape(-1, 3)
        radius, length = radius * 0.5 ** (1 / 3), length * 0.78
    return tree
