"""The mediastinum of CT volumes: heart with its chambers, great vessels, airway and gullet in fat.

Places are in cm as in `trunk`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medsynth.phantoms.bodies import Body, curve, ellipsoid, loft, tube
from medsynth.phantoms.ct_body import FAT, GAS, PHASES
from medsynth.phantoms.torso import Torso
from medsynth.phantoms.trunk import Trunk
from medsynth.phantoms.volume import Volume


def heart_axes(torso: Torso) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Centre (z, y, x), own axes (rows: long, towards the front, across), long and short semi-axis in cm.

    The heart is as wide from the front as the radiograph's; its long axis points down, forwards and to the left.
    """
    cx, cy, half, _ = torso.heart
    long = np.array([0.48, -0.52, 0.71])
    long /= np.linalg.norm(long)
    across = np.cross(long, np.array([1.0, 0.0, 0.0]))
    across /= np.linalg.norm(across)
    rows = np.stack([long, np.cross(across, long), across])
    slim = 0.72
    reach = half / np.sqrt(long[2] ** 2 + slim**2 * (1 - long[2] ** 2))
    return np.array([cy, -0.22 * torso.depth, cx]), rows, float(reach), float(slim * reach)


def add_heart(volume: Volume, trunk: Trunk, number: int) -> None:
    """Heart muscle with the blood of its four chambers, in its fat."""
    patient = trunk.patient
    centre, axes, long, short = heart_axes(trunk.torso)

    def chamber(place: tuple[float, float, float], radii: tuple[float, float, float]) -> Body:
        """Place and semi-axes along (apex, up and forwards, across to the left behind), as shares of the semi-axes."""
        at = centre + axes.T @ (np.array(place) * (long, short, short))
        return ellipsoid(at, np.array(radii) * (long, short, short), axes)

    whole = ellipsoid(centre, (long, short, short), axes)
    left, right = patient.hu("artery"), patient.hu("vein")
    if PHASES[patient.phase] == "arterial":  # the first pass: the right heart still holds dense blood
        right = 0.5 * (left + right)
    volume.paint(whole.grown(0.4), FAT + 15)
    volume.paint(whole, FAT + 60, number)
    lv = ((0.28, 0.0, leftward(axes) * 0.38), (0.62, 0.52, 0.48))
    volume.paint(chamber(*lv), patient.hu("myocardium"), number, edge=0.1)
    volume.paint(chamber(lv[0], (0.46, 0.33, 0.30)), left, number, edge=0.1)
    rv = ((0.22, 0.18, -leftward(axes) * 0.42), (0.64, 0.60, 0.40))
    shell = ellipsoid(
        centre + axes.T @ (np.array(lv[0]) * (long, short, short)), np.array(lv[1]) * (long, short, short), axes
    )
    volume.paint(chamber(rv[0], (0.68, 0.66, 0.45)) - shell, patient.hu("myocardium"), number, edge=0.1)
    volume.paint(chamber(*rv) - shell, right, number, edge=0.1)
    volume.paint(chamber((-0.52, 0.10, leftward(axes) * 0.30), (0.36, 0.46, 0.52)), left, number, edge=0.1)
    volume.paint(chamber((-0.36, -0.05, -leftward(axes) * 0.58), (0.42, 0.55, 0.36)), right, number, edge=0.1)


def leftward(axes: np.ndarray) -> float:
    """1 where the third own axis points to the back, where the left chambers lie, else -1."""
    return 1.0 if axes[2, 1] > 0 else -1.0


def sheath(torso: Torso) -> Body:
    """The fat between the lungs."""
    h, d = torso.height, torso.depth
    wide = torso.mediastinum * torso.width
    return loft(
        np.array([-0.2, 0.05, 0.25, 0.45, 0.7, 1.0]) * h,
        np.array([0.15, 0.1, 0.05, -0.05, -0.05, -0.1]) * d,
        np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.1]) * wide,
        np.array([0.45, 0.5, 0.85, 0.98, 0.98, 0.98]) * d,
        np.array([0.9, 0.85, 0.75, 0.8, 0.7, 0.7]) * wide,
    )


def aorta(torso: Torso) -> tuple[np.ndarray, np.ndarray]:
    """Its line (34, 3), from the left ventricle over the arch to the diaphragm, and its radii."""
    h, d, g = torso.height, torso.depth, torso.width / 28
    centre, axes, long, _ = heart_axes(torso)
    base = centre - 0.45 * long * axes[0]
    root = (base[0] - 0.5 * g, base[1] - 0.8 * g, base[2] + 0.2 * g)
    spine = 0.50 * d
    line = curve(
        [
            root,
            (root[0] - 3.0 * g, root[1] - 0.6 * g, -1.6 * g),
            (0.29 * h, -0.20 * d, -1.2 * g),
            (0.235 * h, 0.12 * d, 0.6 * g),
            (0.29 * h, spine - 0.4 * g, 2.4 * g),
            (0.45 * h, spine + 0.2 * g, 2.7 * g),
            (0.8 * h, spine + 0.2 * g, 1.9 * g),
            (1.2 * h, spine - 1.6 * g, 0.8 * g),
        ],
        34,
    )
    wide = np.interp(np.linspace(0, 1, 34), (0, 0.35, 0.5, 1), (1.6, 1.45, 1.25, 1.05))
    return line, (torso.knob / 0.05) ** 0.5 * g * wide


def great_vessels(torso: Torso) -> list[tuple[str, list[Body]]]:
    """What runs through the mediastinum, in the order to be painted: names of tissues and the pieces of each tube."""
    w, h, d = torso.width, torso.height, torso.depth
    g = w / 28
    centre, axes, long, _ = heart_axes(torso)
    base = centre - 0.45 * long * axes[0]
    found = [
        ("cava", tube(np.array([(0.10 * h, -0.1 * d, -2.0 * g), (base[0] - 0.5, base[1], -2.9 * g)]), 0.95 * g)),
        ("cava", tube(np.array([(0.05 * h, -0.15 * d, 3.2 * g), (0.14 * h, -0.25 * d, -1.6 * g)]), 0.6 * g)),
        ("artery", tube(np.array([(-0.15 * h, 0.0, -2.2 * g), (0.26 * h, -0.1 * d, -0.9 * g)]), 0.5 * g)),
        ("artery", tube(np.array([(-0.15 * h, 0.05 * d, 1.9 * g), (0.25 * h, 0.0, 0.2 * g)]), 0.4 * g)),
        ("artery", tube(np.array([(-0.05 * h, 0.2 * d, 2.9 * g), (0.26 * h, 0.2 * d, 1.2 * g)]), 0.45 * g)),
    ]
    split = np.array([0.44 * h, -0.12 * d, 1.0 * g])
    trunk_root = base + np.array([-0.2, -2.4, 0.8]) * g
    for way, wide in (
        (curve([trunk_root, (0.47 * h, -0.34 * d, 1.7 * g), split], 8), 1.4 * g),
        (curve([split, (0.46 * h, 0.0, -1.0 * g), (0.49 * h, 0.1 * d, -0.115 * w)], 8), 1.0 * g),
        (curve([split, (0.43 * h, 0.0, 2.3 * g), (0.45 * h, 0.1 * d, 0.115 * w)], 8), 1.05 * g),
    ):
        found.append(("lung_artery", tube(way, wide)))
    found.append(("aorta", tube(*aorta(torso))))
    carina = np.array([0.37 * h, 0.22 * d, 0.1 * g])
    for way, wide in (
        (curve([(-0.2 * h, 0.02 * d, 0.0), carina], 6), 0.9 * g),
        (curve([carina, (0.45 * h, 0.18 * d, -2.2 * g), (0.49 * h, 0.16 * d, -0.13 * w)], 6), 0.65 * g),
        (curve([carina, (0.46 * h, 0.18 * d, 2.6 * g), (0.49 * h, 0.16 * d, 0.13 * w)], 6), 0.58 * g),
    ):
        found += [("airway_wall", tube(way, wide + 0.14 * g)), ("airways", tube(way, wide))]
    gullet = curve([(-0.15 * h, 0.28 * d, 0.4 * g), (0.4 * h, 0.40 * d, 0.7 * g), (1.1 * h, 0.22 * d, 1.8 * g)], 10)
    return [*found, ("gullet", tube(gullet, 0.75 * g)), ("gullet_air", tube(gullet, 0.2 * g))]


def add_mediastinum(rng: np.random.Generator, volume: Volume, trunk: Trunk, numbers: Mapping[str, int]) -> None:
    """Fat with great vessels, the airway and the gullet; `numbers` of the label map by name."""
    torso, patient = trunk.torso, trunk.patient
    volume.paint(sheath(torso), FAT + 12, numbers["fat"])
    add_heart(volume, trunk, numbers["heart"])
    first_pass = PHASES[patient.phase] == "arterial"  # dense blood still comes from the arm
    hu = {
        "cava": patient.hu("vein") * (2.0 if first_pass else 1.0),
        "artery": patient.hu("artery"),
        "lung_artery": patient.hu("lung_artery"),
        "aorta": patient.hu("artery"),
        "airway_wall": 20.0,
        "airways": GAS,
        "gullet": 38.0,
        "gullet_air": -300.0,
    }
    for name, pieces in great_vessels(torso):
        volume.paint(pieces, hu[name], numbers.get(name))
    if patient.age > 50:
        line, radii = aorta(torso)
        add_chalk(rng, volume, line[10:], radii[10:], (patient.age - 50) / 45)


def add_chalk(rng: np.random.Generator, volume: Volume, line: np.ndarray, radii: np.ndarray, rate: float) -> None:
    """Calcified plaques in the wall of an artery along a line (n, 3); more in the old."""
    pick = rng.integers(len(line), size=60)
    around = rng.standard_normal((60, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    points = line[pick] + around * radii[pick, None]
    volume.mix(volume.deposit(points, rate * rng.uniform(0, 0.05, 60)), 700.0)
