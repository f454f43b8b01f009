"""What lies in front of and beside the lumbar spine: great vessels, muscles, pancreas; and the liver's vessels.

Places are in cm as in `trunk`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medsynth.phantoms.bodies import curve, ellipsoid, fork, loft, tube
from medsynth.phantoms.column import Column
from medsynth.phantoms.mediastinum import add_chalk
from medsynth.phantoms.trunk import Trunk
from medsynth.phantoms.volume import Volume

FORK = 1.58  # of the aorta, in heights of the lungs


def front_of(column: Column, z: float) -> float:
    """y of the front of the vertebral bodies at a height."""
    at = np.array(z)
    return float(column.at(at, column.middle) - column.at(at, column.half_y))


def add_muscles(rng: np.random.Generator, volume: Volume, trunk: Trunk, column: Column, number: int) -> None:
    """Crura, psoas and square lumbar muscles."""
    torso = trunk.torso
    w, h = torso.width, torso.height
    value = trunk.patient.hu("muscle")
    heights = np.linspace(1.10, 1.85, 9) * h
    y = np.array([front_of(column, z) for z in heights])
    grown = np.linspace(0, 1, 9)
    for side in (-1, 1):
        psoas = np.stack([heights, y + 2.6 - 2.8 * grown**2, side * w * (0.075 + 0.085 * grown)], 1)
        volume.paint(tube(psoas, w * (0.030 + 0.065 * np.sin(np.pi * (0.1 + 0.6 * grown)))), value, number)
        square = loft(heights[1:], y[1:] + 4.0, side * w * (0.17 + 0.05 * grown[1:]), 0.036 * w, 0.075 * w, 2.4)
        volume.paint(square, value, number)
        crus = np.array([(z * h, front_of(column, z * h) - 0.3, side * 1.5 * w / 28) for z in (0.9, 1.1, 1.3)])
        volume.paint(tube(crus, (0.85, 0.7, 0.3)), value, number)


def add_vessels(
    rng: np.random.Generator, volume: Volume, trunk: Trunk, column: Column, numbers: Mapping[str, int]
) -> None:
    """Aorta and vena cava with their forks and renal branches, mesenteric and portal veins; chalk by age."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    g = w / 28
    artery, vein, portal = (patient.hu(name) for name in ("artery", "vein", "portal"))
    heights = np.linspace(0.75, FORK, 16) * h
    y = np.array([front_of(column, z) for z in heights])
    wide = (0.9 + 0.003 * patient.age) * g
    aorta = np.stack([heights, y - 1.3 * wide, np.linspace(1.6, 0.4, 16) * g], 1)
    cava = np.stack([heights, y - 1.2 * g - np.linspace(1.6, 0.0, 16) ** 2 * g, np.linspace(-2.6, -1.6, 16) * g], 1)
    right = 1.05 * g * rng.uniform(0.85, 1.15)
    for side in (-1, 1):
        for line, value, radius in ((aorta, artery, 0.6 * g), (cava, vein, 0.7 * g)):
            end = line[-1]
            way = [
                end,
                end + np.array([0.10 * h, 0.2, side * 2.0 * g]),
                end + np.array([0.22 * h, 0.8, side * 4.6 * g]),
            ]
            volume.paint(tube(curve(way, 6), radius), value)
        hilum = (1.27 * h, 0.25 * d, side * 0.17 * w)
        volume.paint(tube(curve([cava[9], (1.24 * h, 0.12 * d, side * 0.09 * w), hilum], 6), 0.5 * g), vein)
        volume.paint(tube(curve([aorta[9], (1.25 * h, 0.22 * d, side * 0.09 * w), hilum], 6), 0.3 * g), artery)
    volume.paint(tube(cava, right), vein, numbers["vena_cava"])
    volume.paint(tube(aorta, wide), artery, numbers["aorta"])
    root = aorta[7]
    gut_artery = [root, root + np.array([0.05 * h, -1.8 * g, 0.0]), root + np.array([0.30 * h, -3.0 * g, -1.0 * g])]
    volume.paint(tube(curve(gut_artery, 8), 0.38 * g), artery)
    stem = np.array([1.16 * h, root[1] - 2.2 * g, -0.9 * g])
    porta = np.array([1.03 * h, -0.05 * d, -0.13 * w])
    spleen = (1.03 * h, 0.25 * d, 0.30 * w)
    volume.paint(
        tube(
            curve([stem + np.array([0.30 * h, -1.0 * g, -1.0 * g]), stem + np.array([0.1 * h, -0.3, 0.0]), stem], 8),
            0.5 * g,
        ),
        portal,
    )
    volume.paint(tube(curve([stem, (1.09 * h, -0.1 * d, -0.07 * w), porta], 6), 0.62 * g), portal)
    volume.paint(tube(curve([stem, (1.10 * h, 0.0, 0.12 * w), spleen], 8), 0.42 * g), portal)
    if patient.age > 50:
        add_chalk(rng, volume, aorta, np.full(16, wide), (patient.age - 50) / 45)


def add_liver_vessels(rng: np.random.Generator, volume: Volume, trunk: Trunk, liver: np.ndarray) -> None:
    """Portal branches from the porta, and hepatic veins that meet the vena cava at the liver's top."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    vessels = np.zeros_like(liver)
    for start, aims, radius in (
        (
            (1.03 * h, -0.05 * d, -0.13 * w),
            [(0.5, 0.2, -1), (-0.6, 0.3, -1), (0.1, -0.7, -0.8), (-0.2, -0.6, 0.7)],
            0.017,
        ),
        ((0.88 * h, 0.20 * d, -0.09 * w), [(0.7, 0.1, -1), (0.8, -0.6, -0.6), (0.5, -0.9, 0.3)], 0.016),
    ):
        for lines, radii in fork(rng, start, np.array(aims), radius * w, 0.12 * w, 4):
            vessels = np.maximum(vessels, volume.strands(lines, radii))
    volume.mix(0.9 * vessels * liver, patient.hu("portal"))


def add_pancreas(rng: np.random.Generator, volume: Volume, trunk: Trunk, room: np.ndarray, number: int) -> None:
    """A lobulated band from the duodenum to the spleen, and the duodenum around its head."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    bend = [(1.20 * h, -0.35 * d, -0.12 * w), (1.28 * h, -0.02 * d, -0.15 * w), (1.36 * h, 0.0, -0.06 * w)]
    volume.paint(tube(curve([*bend, (1.33 * h, 0.0, 0.08 * w)], 10), 0.042 * w), patient.hu("bowel"), within=room)
    way = curve(
        [
            (1.26 * h, -0.05 * d, -0.09 * w),
            (1.15 * h, -0.22 * d, 0.0),
            (1.11 * h, -0.02 * d, 0.15 * w),
            (1.05 * h, 0.25 * d, 0.30 * w),
        ],
        22,
    )
    radii = (
        w * np.interp(np.linspace(0, 1, 22), (0, 0.2, 0.5, 1), (0.06, 0.045, 0.036, 0.032)) * rng.uniform(0.8, 1.15, 22)
    )
    volume.paint(tube(way, radii), patient.hu("pancreas"), number, within=room)
    for side in (-1, 1):  # adrenal glands
        volume.paint(
            ellipsoid((1.10 * h, 0.22 * d, side * 0.12 * w), (1.4, 1.2, 0.28)), patient.hu("bowel"), within=room
        )
