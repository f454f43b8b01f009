"""A torso on a grid of rays: the chord of every organ, and what the healthy patient does to the beam."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medsynth.phantoms import projection as pj
from medsynth.phantoms import skeleton
from medsynth.phantoms.torso import BODY_AT, BODY_DEPTH, BODY_WIDTH, LUNG_LATERAL, Torso


@dataclass(frozen=True)
class View:
    """A torso on a grid of rays.

    Attributes:
        torso: the patient.
        field: edges of the image in the patient's frame: left, top, width and height in cm.
        shape: rays (rows, columns).
    """

    torso: Torso
    field: tuple[float, float, float, float]
    shape: tuple[int, int]

    @cached_property
    def spacing(self) -> tuple[float, float]:
        return self.field[2] / self.shape[1], self.field[3] / self.shape[0]

    @cached_property
    def y(self) -> np.ndarray:
        """(rows, 1)"""
        return ((np.arange(self.shape[0]) + 0.5) * self.spacing[1] + self.field[1]).astype(np.float32)[:, None]

    @cached_property
    def x(self) -> np.ndarray:
        """(rows, columns): the patient leans, row by row."""
        x = (np.arange(self.shape[1]) + 0.5) * self.spacing[0] + self.field[0]
        return (x[None] - self.torso.lean * (self.y - self.torso.height / 2)).astype(np.float32)

    def ellipsoid(self, centre: pj.Triple, radii: pj.Triple, tilt: float = 0.0) -> pj.Chord:
        return pj.ellipsoid(self.x, self.y, centre, radii, tilt)

    def project(self, tubes: list[pj.Tubes]) -> np.ndarray:
        """Line integrals of strands given in the patient's frame."""
        lean, middle = self.torso.lean, self.torso.height / 2
        leaning = [pj.Tubes(t.x + lean * (t.y - middle), t.y, t.weight) for t in tubes]
        first = (self.field[0] + self.spacing[0] / 2, self.field[1] + self.spacing[1] / 2)
        return pj.splat(leaning, first, self.spacing, self.shape)

    @cached_property
    def envelopes(self) -> tuple[pj.Chord, pj.Chord]:
        """Right and left pleural space, before heart and diaphragm take their share."""
        lateral, medial, depth = (edge.astype(np.float32) for edge in self.torso.edges(self.y))
        depth = np.where((self.y < 0) | (self.y > self.torso.height), 0, depth).astype(np.float32)
        centre, half = (lateral + medial) / 2, np.maximum((lateral - medial) / 2, np.float32(1e-3))

        def squared_ellipse(side: int) -> pj.Chord:
            u = (self.x - side * centre) / half
            u *= u
            return pj.solid(1 - u * u, depth)

        return squared_ellipse(-1), squared_ellipse(+1)

    @cached_property
    def heart(self) -> pj.Chord:
        """Ventricles and right atrium."""
        cx, cy, half, tall = self.torso.heart
        z = 0.15 * self.torso.depth
        long = half / np.sqrt(np.cos(self.torso.heart_tilt) ** 2 + 0.6 * np.sin(self.torso.heart_tilt) ** 2)
        ventricles = self.ellipsoid((cx, cy, z), (long, np.sqrt(0.6) * long, 0.85 * half), self.torso.heart_tilt)
        atrium = self.ellipsoid((-0.26 * half, cy + 0.1 * tall, z), (0.42 * half, 0.66 * tall, 0.6 * half))
        return pj.hull(ventricles, atrium)

    @cached_property
    def mediastinum(self) -> pj.Chord:
        """Heart, great vessels, aortic knob and pulmonary trunk."""
        torso = self.torso
        w, h, d = torso.width, torso.height, torso.depth
        wide = torso.mediastinum * w
        column = self.ellipsoid((-0.005 * w, 0.36 * h, 0), (0.92 * wide, 0.58 * h, 0.75 * d))
        knob = self.ellipsoid((wide * 0.6, 0.27 * h, 0), (1.25 * torso.knob * w, 1.5 * torso.knob * w, 0.5 * d))
        trunk = self.ellipsoid((0.6 * wide, 0.45 * h, 0), (0.085 * w, 0.12 * h, 0.4 * d), 0.35)
        return pj.hull(self.heart, column, knob, trunk)

    @cached_property
    def domes(self) -> tuple[pj.Chord, pj.Chord]:
        """Right and left diaphragm with what lies below: paraboloids that meet the flank at the angles."""
        torso = self.torso
        lateral = torso.width / 2 * LUNG_LATERAL[-1]

        def dome(side: int, top: float) -> pj.Chord:
            centre = 0.34 * torso.width / 2
            across = (self.x - np.float32(side * centre)) / np.float32(lateral - centre)
            below = (self.y - top * torso.height) / np.float32((1 - top) * torso.height)
            return pj.solid(below - across * across, 1.45 * torso.depth, 0.12 * torso.depth)

        return dome(-1, torso.domes[0]), dome(+1, torso.domes[1])

    @cached_property
    def lungs(self) -> tuple[np.ndarray, np.ndarray]:
        """Air-filled lung along each ray in cm, right and left."""
        right, left = (
            pj.remaining(envelope, self.mediastinum, dome)
            for envelope, dome in zip(self.envelopes, self.domes, strict=True)
        )
        return right, left

    @cached_property
    def spine(self) -> pj.Chord:
        half = self.torso.width * (0.05 + 0.006 * self.y / self.torso.height)
        u = self.x / half
        return pj.solid(1 - u * u, 0.9 * half, -0.6 * self.torso.depth)

    def body(self) -> tuple[pj.Chord, pj.Chord]:
        """Skin and, within the fat, the muscular wall; shoulders and arms with both."""
        torso = self.torso
        w, h = torso.width, torso.height
        t = self.y / h
        wide = w * np.interp(t, BODY_AT, BODY_WIDTH).astype(np.float32)
        deep = torso.depth * np.interp(t, BODY_AT, BODY_DEPTH).astype(np.float32)

        def shape(extra: float) -> pj.Chord:
            u = self.x / (wide + np.float32(extra))
            u *= u
            parts = [pj.solid(1 - u * u, deep + np.float32(extra))]
            for side in (-1, 1):
                x, y = side * 0.60 * w, 0.05 * h
                thick = 0.115 * w + extra
                parts.append(self.ellipsoid((x, y, 0), (0.15 * w + extra, 0.15 * w + extra, thick)))
                dx, dy = side * np.sin(torso.arm), np.cos(torso.arm)
                reach = 0.62 * w
                centre = (x + dx * reach, y + dy * reach, 0.0)
                parts.append(self.ellipsoid(centre, (0.85 * w, thick, thick), np.arctan2(dy, dx)))
            return pj.hull(*parts)

        return shape(torso.fat), shape(0.0)

    def breasts(self) -> np.ndarray:
        """Breast tissue along each ray in cm: half ellipsoids on the chest wall."""
        torso = self.torso
        if torso.breast == 0:
            return np.zeros(self.shape, np.float32)
        w, h, size = torso.width, torso.height, torso.breast
        total = np.zeros(self.shape, np.float32)
        for side in (-1, 1):
            centre = (side * 0.30 * w, 0.60 * h, torso.depth)
            radii = (0.19 * w * size**0.5, 0.23 * h * size**0.5, 0.19 * w * size)
            total += self.ellipsoid(centre, radii).length() / 2
        # It hangs: full below, thinning out upwards without an edge.
        return total * np.clip((self.y / h - 0.40) / 0.35, 0, 1)

    def optical_depth(self) -> np.ndarray:
        """The integral of mu along each ray through the healthy patient, (rows, columns)."""
        torso = self.torso
        w, h = torso.width, torso.height
        skin, wall = self.body()
        lung = self.lungs[0] + self.lungs[1]
        depth = pj.MU_FAT * (skin.length() - wall.length()) + pj.MU_SOFT * wall.length()
        depth += pj.MU_FAT * self.breasts()
        depth -= (pj.MU_SOFT - pj.MU_LUNG) * lung
        trachea = self.ellipsoid((-0.01 * w, -0.15 * h, -0.1 * torso.depth), (0.030 * w, 0.6 * h, 0.030 * w))
        bubble = self.ellipsoid(
            (0.30 * w, (torso.domes[1] + 0.10) * h, 0.2 * torso.depth),
            (0.10 * w, 0.05 * h, 0.16 * w * torso.gas**2),
        )
        depth -= pj.MU_SOFT * (trachea.length() + bubble.length())
        depth += skeleton.vertebral_mu(torso, self.y) * self.spine.length()
        depth += self.project(skeleton.bones(torso, self.spacing[0]))
        vessels = self.project(skeleton.arteries(torso, self.spacing[0]))
        return depth + vessels * np.minimum(lung / (0.2 * torso.depth), 1)
