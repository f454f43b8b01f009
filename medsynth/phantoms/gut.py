"""Stomach and bowel of the abdomen in space. Places are in cm as in `trunk`."""

from __future__ import annotations

import numpy as np

from medsynth.phantoms.bodies import curve, tube
from medsynth.phantoms.ct_body import GAS
from medsynth.phantoms.trunk import Trunk
from medsynth.phantoms.volume import Volume

LOOPS, TURNS = 9, 9  # of the small bowel


def add_stomach(rng: np.random.Generator, volume: Volume, trunk: Trunk, room: np.ndarray, number: int) -> None:
    """A bent sack with content, and the gas above it: in front of a patient who lies on the back."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    way = curve(
        [
            (0.88 * h, 0.15 * d, 0.23 * w),
            (0.98 * h, -0.15 * d, 0.27 * w),
            (1.12 * h, -0.45 * d, 0.20 * w),
            (1.22 * h, -0.52 * d, 0.04 * w),
            (1.18 * h, -0.38 * d, -0.08 * w),
        ],
        14,
    )
    full = rng.uniform(0.75, 1.15)
    radii = full * w * np.interp(np.linspace(0, 1, 14), (0, 0.25, 0.5, 0.8, 1), (0.10, 0.125, 0.11, 0.075, 0.05))
    volume.paint(tube(way, radii), patient.hu("bowel") + 10, number, within=room)
    lumen = tube(way, np.maximum(radii - 0.35, 0.3))
    volume.paint(lumen, rng.uniform(5, 60), number, within=room)
    level = (-0.25 - 0.35 * torso.gas) * d
    above = np.clip(0.5 + (level - volume.y) / volume.spacing[1], 0, 1)
    volume.paint(lumen, GAS, number, within=room * above)


def add_bowel(rng: np.random.Generator, volume: Volume, trunk: Trunk, room: np.ndarray, number: int) -> None:
    """Coils of the small bowel on their mesentery, and the colon around them with faeces and gas."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    wall = patient.hu("bowel")
    root = np.array([1.22 * h, 0.05 * d, 0.0])
    coils = []
    for loop in range(LOOPS):
        row = (loop + 0.5) / LOOPS
        x = 0.33 * w * np.cos(np.arange(TURNS) * np.pi * 0.9 + rng.uniform(0, 6.28)) * rng.uniform(0.35, 1, TURNS)
        y = (-0.35 + 0.45 * np.sin(np.arange(TURNS) * 1.7 + rng.uniform(0, 6.28))) * d * trunk.belly
        z = (1.22 + 0.55 * row + 0.04 * rng.standard_normal(TURNS)) * h
        coils.append(curve(np.stack([z, y, x], 1), 4 * TURNS))
    fan = np.stack([np.linspace(root, coil[4 * k + 2], 6) for coil in coils for k in range(0, TURNS, 2)])
    fan[:, 1:-1] += 0.4 * rng.standard_normal((len(fan), 4, 3))
    volume.mix(volume.strands(fan, np.full(fan.shape[:2], 0.22)) * room, patient.hu("vein"))
    for coil in coils:
        size = 0.045 * w * rng.uniform(0.85, 1.15)
        volume.paint(tube(coil, size), wall, number, within=room)
        content = np.where(volume.texture(rng, 9) > 1.1, -650.0, 18.0)
        volume.paint(tube(coil, 0.6 * size), content, number, within=room)
    colon = curve(
        [
            (1.74 * h, 0.05 * d, -0.33 * w),
            (1.50 * h, 0.15 * d, -0.37 * w),
            (1.28 * h, 0.05 * d, -0.36 * w),
            (1.27 * h, -0.55 * d, -0.28 * w),
            (1.34 * h, -0.80 * d * trunk.belly, 0.0),
            (1.22 * h, -0.60 * d, 0.27 * w),
            (1.08 * h, 0.05 * d, 0.40 * w),
            (1.26 * h, 0.25 * d, 0.40 * w),
            (1.52 * h, 0.25 * d, 0.38 * w),
            (1.74 * h, 0.15 * d, 0.34 * w),
        ],
        64,
    )
    wide = (
        0.075 * w * np.interp(np.linspace(0, 1, 64), (0, 0.5, 0.75, 1), (1.15, 1.0, 0.75, 0.6)) * rng.uniform(0.8, 1.1)
    )
    haustra = wide * (1 + 0.13 * np.sin(np.arange(64) * 1.55 + rng.uniform(0, 6.28)))
    volume.paint(tube(colon, haustra), wall, number, within=room)
    lumen = tube(colon, haustra - 0.28)
    crumbs = volume.texture(rng, 44)
    volume.paint(lumen, 25 - 330 * np.clip(crumbs, 0, 2), number, within=room)
    gassy = np.where(volume.texture(rng, 5) - 1.2 * volume.y / d > 0.9, 1.0, 0.0)
    volume.paint(lumen, GAS, number, within=room * gassy)
