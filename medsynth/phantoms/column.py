"""The vertebral column as bodies in space: vertebrae, discs, arches, canal and cord along a curved line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medsynth.phantoms.bodies import Body

FLARE = 0.10  # end plates are so much wider than the waist, as a share


@dataclass(frozen=True)
class Column:
    """A column of vertebrae along z, in cm.

    Attributes:
        knots: heights z of the rows below, rising.
        middle: y of the vertebral bodies' middle at the knots.
        half_y, half_x: of a vertebral body at the knots.
        pitch: from one vertebra to the next.
        start: z of a disc's middle.
        disc: height of a disc, as a share of the pitch.
        slant: fall of the spinous processes towards their tips, as a slope.
        spinous: length of the spinous processes.
        lean: x at the knots.
    """

    knots: np.ndarray
    middle: np.ndarray
    half_y: np.ndarray
    half_x: np.ndarray
    pitch: float
    start: float
    disc: float = 0.22
    slant: float = 0.4
    spinous: float = 3.0
    lean: float | np.ndarray = 0.0

    def at(self, z: np.ndarray, row: np.ndarray | float) -> np.ndarray:
        return np.interp(z, self.knots, np.broadcast_to(row, self.knots.shape)).astype(np.float32)

    def local(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """v and u, cm behind and left of the bodies' middle, half-axes there, and the phase, whole at discs.

        Discs stand across the line, so that the phase follows its slope.
        """
        slope = np.gradient(self.middle, self.knots)
        v = y - self.at(z, self.middle)
        phase = (z + self.at(z, slope) * v - self.start) / self.pitch
        return v, x - self.at(z, self.lean), self.at(z, self.half_y), self.at(z, self.half_x), phase

    def _body(self, distance: Callable[..., np.ndarray], behind: float = 0.0) -> Body:
        def of(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
            return distance(*self.local(z, y, x))

        reach = float(self.half_x.max()) + 3.0
        low = (float(self.knots[0]), float((self.middle - self.half_y).min()) - 0.6, -reach)
        high = (float(self.knots[-1]), float((self.middle + self.half_y).max()) + behind, reach)
        return Body(of, low, high)

    @staticmethod
    def rim(v: np.ndarray, u: np.ndarray, half_y: np.ndarray, half_x: np.ndarray) -> np.ndarray:
        """About the distance to the bodies' outline, which is flat towards the canal."""
        behind = np.clip(v / half_y, 0, None)
        return (np.sqrt((u / half_x) ** 2 + (v / half_y) ** 2 + 0.35 * behind**4) - 1) * half_y

    def discs(self) -> Body:
        """The whole column of bodies and discs; paint the bodies over it."""
        return self._body(lambda v, u, hy, hx, phase: self.rim(v, u, hy, hx) - 0.05 * hy, 0.6)

    def bodies(self, shell: float = 0.0) -> Body:
        """Vertebral bodies, their surface `shell` cm further in."""

        def distance(v: np.ndarray, u: np.ndarray, hy: np.ndarray, hx: np.ndarray, phase: np.ndarray) -> np.ndarray:
            off = np.abs(phase % 1 - 0.5)
            flat = (off - 0.5 * (1 - self.disc)) * self.pitch
            return np.maximum(self.rim(v, u, hy, hx) + FLARE * hy * (1 - 4 * off**2), flat) + shell

        return self._body(distance, 0.6)

    def canal(self, wide: float = 1.0) -> Body:
        """The canal behind the bodies, `wide` times its size."""

        def distance(v: np.ndarray, u: np.ndarray, hy: np.ndarray, hx: np.ndarray, phase: np.ndarray) -> np.ndarray:
            return (np.hypot((v - self.behind(hy)) / 0.85, u / 1.15) - wide) * 0.85

        return self._body(distance, 4.0)

    def behind(self, half_y: np.ndarray) -> np.ndarray:
        """From the bodies' middle to the canal's."""
        return half_y + 0.95

    def arches(self, grown: float = 0.0) -> Body:
        """Pedicles, laminae, spinous and transverse processes; paint the canal over them."""

        def distance(v: np.ndarray, u: np.ndarray, hy: np.ndarray, hx: np.ndarray, phase: np.ndarray) -> np.ndarray:
            w = v - self.behind(hy)
            side = np.abs(u)
            high = np.abs((phase - 0.42) % 1 - 0.5)  # from the pedicles' height, 0.92 of a phase round
            level = (np.abs((phase - 0.45 + 0.5) % 1 - 0.5) - 0.27) * self.pitch
            ring = np.maximum(np.abs((np.hypot(w / 0.85, u / 1.15) - 1.25) * 0.95) - 0.28, level)
            ring = np.maximum(ring, -(v - 0.6 * hy))
            fallen = phase - self.slant * (w - 1) / self.pitch
            thin = (np.abs((fallen - 0.6 + 0.5) % 1 - 0.5) - 0.22) * self.pitch
            process = np.maximum(np.maximum(side - 0.35, thin), np.maximum(0.9 - w, w - 1.0 - self.spinous))
            wing = np.maximum(np.abs(w - 0.15 - 0.15 * side) - 0.42, np.maximum(1.1 - side, side - hx - 1.5))
            wing = np.maximum(wing, (0.36 - high) * self.pitch)
            return np.minimum(np.minimum(ring, process), wing) - grown

        return self._body(distance, 1.95 + self.spinous + 0.5)
