"""The abdomen as a CT volume: liver, spleen, kidneys, stomach, bowel, vessels and spine in fat; lesions.

The torso is that of `chest_ct` of the same seed, age and sex. Places are in cm as in `trunk`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medsynth.phantoms.bodies import Body, draw_bumps, ellipsoid, half_space, loft, rotation
from medsynth.phantoms.ct_body import FAT, PHASES
from medsynth.phantoms.gut import add_bowel, add_stomach
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.retroperitoneum import add_liver_vessels, add_muscles, add_pancreas, add_vessels
from medsynth.phantoms.trunk import (
    AIR,
    WINDOW,
    Trunk,
    acquire,
    add_column,
    add_ribs,
    add_wall,
    diaphragm,
    draw_trunk,
    lung,
    part_streams,
    scanned,
)
from medsynth.phantoms.volume import Volume

PATHOLOGIES = ("normal", "liver_lesion", "kidney_cyst")
CONDITIONS = scanned(PATHOLOGIES, 12.0)
ORGANS: tuple[str, ...] = (
    "lungs",
    "liver",
    "gallbladder",
    "spleen",
    "left_kidney",
    "right_kidney",
    "stomach",
    "bowel",
    "pancreas",
)
ORGANS += ("aorta", "vena_cava", "vertebrae", "ribs", "pelvis", "muscle", "fat", "skin", "lesion")
STRUCTURES = {name: number for number, name in enumerate(ORGANS, start=1)}
FROM, TO = 0.80, 1.72  # the block along z, in heights of the lungs
TALLER = 1.32  # lumbar vertebrae than thoracic ones


def cavity(trunk: Trunk) -> Body:
    """What lies below the diaphragm, within the muscles of the wall and in front of the back's."""
    torso = trunk.torso
    front = half_space((0.0, 1.0, 0.0), 0.72 * torso.depth)
    below = Body(lambda z, y, x: np.minimum(*(diaphragm(torso, side).distance(z, y, x) for side in (-1, 1))))
    return trunk.outline(-0.055 * torso.width) & front & below


def add_liver(rng: np.random.Generator, volume: Volume, trunk: Trunk, room: np.ndarray) -> np.ndarray:
    """Both lobes with their vessels, and the gallbladder; returns the share of each part that the liver covers."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    long = rng.uniform(0.9, 1.15)
    right = ellipsoid(
        (1.02 * h, 0.02 * d, -0.27 * w),
        (0.27 * h * long, 0.88 * d, 0.23 * w),
        rotation(roll=0.12),
        draw_bumps(rng, 0.05),
    )
    left = ellipsoid(
        (1.00 * h, -0.42 * d, -0.02 * w), (0.14 * h, 0.46 * d, 0.26 * w), rotation(roll=-0.25), draw_bumps(rng, 0.06)
    )
    caudate = ellipsoid((1.02 * h, 0.12 * d, -0.07 * w), (0.10 * h, 0.24 * d, 0.07 * w))
    share = volume.cover(right | left | caudate) * room
    fatty = 22 * max(rng.standard_normal() - 0.8, 0)
    volume.mix(share, patient.hu("liver") - fatty, STRUCTURES["liver"])
    add_liver_vessels(rng, volume, trunk, share)
    bladder = ellipsoid(
        (1.17 * h, -0.40 * d, -0.17 * w), (0.085 * h, 0.24 * d, 0.055 * w), rotation(pitch=-0.5), draw_bumps(rng, 0.05)
    )
    volume.paint(bladder.grown(0.12), patient.hu("bowel"), within=room)
    volume.paint(bladder, 8.0, STRUCTURES["gallbladder"], within=room)
    return share * (1 - volume.cover(bladder.grown(0.12)))


def kidney(rng: np.random.Generator, trunk: Trunk, side: int) -> tuple[Body, np.ndarray, np.ndarray]:
    """A kidney, its centre and its own axes: the upper pole lies further in and back."""
    torso = trunk.torso
    w, h, d = torso.width, torso.height, torso.depth
    centre = np.array([(1.25 if side > 0 else 1.30) * h, 0.30 * d, side * 0.225 * w])
    centre += rng.normal(0, 0.3, 3)
    axes = rotation(yaw=side * 0.5, pitch=-0.15, roll=side * 0.18)
    radii = np.array((0.195, 0.088, 0.100)) * w * rng.uniform(0.92, 1.08)
    return ellipsoid(centre, radii, axes, draw_bumps(rng, 0.05)), centre, axes


def add_kidney(rng: np.random.Generator, volume: Volume, trunk: Trunk, side: int) -> tuple[Body, np.ndarray]:
    """Cortex, pyramids, and the sinus with fat and vessels; returns the kidney and its centre."""
    patient, w = trunk.patient, trunk.torso.width
    body, centre, axes = kidney(rng, trunk, side)
    volume.paint(body, patient.hu("cortex"), STRUCTURES["left_kidney" if side > 0 else "right_kidney"])
    for level in np.linspace(-0.115, 0.115, 5) * w:
        for turn in (-1.7, 0.0, 1.7):
            # Around the sinus, which opens inwards: the pyramids point to it from outside.
            place = centre + axes.T @ np.array(
                [level, 0.042 * w * np.sin(turn), side * 0.05 * w * np.cos(turn) + 0.005 * side * w]
            )
            volume.paint(ellipsoid(place, (0.55, 0.5, 0.5)), patient.hu("medulla"), edge=0.2)
    sinus = ellipsoid(
        centre + axes.T @ np.array([0.0, 0.0, -side * 0.035 * w]),
        (0.09 * w, 0.030 * w, 0.05 * w),
        axes,
        draw_bumps(rng, 0.1),
    )
    volume.paint(sinus, FAT + 15, edge=0.15)
    points = centre + (rng.normal(0, 1, (14, 3)) * (0.045, 0.012, 0.018) * w + (0, 0, -side * 0.03 * w)) @ axes
    volume.mix(volume.deposit(points, rng.uniform(0.05, 0.35, 14)), 0.5 * patient.hu("vein") + 10)
    return body, centre


def add_spleen(rng: np.random.Generator, volume: Volume, trunk: Trunk, room: np.ndarray) -> None:
    torso = trunk.torso
    w, h, d = torso.width, torso.height, torso.depth
    spleen = ellipsoid(
        (1.00 * h, 0.34 * d, 0.37 * w),
        (0.17 * h, 0.50 * d, 0.085 * w),
        rotation(yaw=0.45, roll=-0.15),
        draw_bumps(rng, 0.07),
    )
    volume.paint(spleen, trunk.patient.hu("spleen"), STRUCTURES["spleen"], within=room)


def add_liver_lesion(
    rng: np.random.Generator, volume: Volume, trunk: Trunk, liver: np.ndarray, severity: float
) -> np.ndarray:
    """A metastasis: darker than liver, with a rim that takes up contrast in the arterial phase; larger, more severe."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    radius = (0.028 + 0.075 * severity * rng.uniform(0.9, 1.1)) * w
    shift = rng.uniform(-1, 1, 3) * (0.10 * h, 0.35 * d, 0.08 * w)
    centre = np.array([1.05 * h, 0.0, -0.27 * w]) + shift
    blob = ellipsoid(centre, radius * rng.uniform(0.85, 1.15, 3), None, draw_bumps(rng, 0.10))
    share = volume.cover(blob, edge=0.2 * radius) * liver
    if PHASES[patient.phase] == "arterial":
        volume.mix(share, patient.hu("liver") + 45 * (0.4 + 0.6 * severity))
        core = ellipsoid(centre, (0.7 * radius,) * 3)
        volume.mix(volume.cover(core, edge=0.3 * radius) * share, patient.hu("liver") - 30)
    else:
        volume.mix(share, patient.hu("liver") - 18 - 32 * severity)
    return share


def add_cyst(
    rng: np.random.Generator, volume: Volume, trunk: Trunk, kidneys: Mapping[int, np.ndarray], severity: float
) -> np.ndarray:
    """A ball of water that bulges from a kidney; larger when more severe."""
    w = trunk.torso.width
    side = (-1, 1)[int(rng.integers(2))]
    radius = (0.026 + 0.085 * severity * rng.uniform(0.9, 1.1)) * w
    angle = rng.uniform(-0.9, 0.5)
    towards = np.array([rng.uniform(-0.9, 0.9), np.sin(angle), side * np.cos(angle)])
    towards /= np.linalg.norm(towards)  # a point of its surface, about
    centre = kidneys[side] + towards * (0.17 * w, 0.08 * w, 0.09 * w)
    ball = ellipsoid(centre, (radius,) * 3, None, draw_bumps(rng, 0.02))
    share = volume.cover(ball)
    volume.paint(ball.grown(0.1), 30.0)
    volume.mix(share, 6.0)
    return share


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; voxels along (z, y, x), from the diaphragm to the crest of the pelvis."""
    of = part_streams(seed)
    conditions = draw_conditions(of["traits"], CONDITIONS, overrides)
    trunk = draw_trunk(of["anatomy"], of["scan"], conditions, "abdomen")
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    shift = 0.02 * patient.field * of["scan"].uniform(-1, 1, 2)
    volume = Volume(
        size,
        ((TO - FROM) * h, patient.field, patient.field),
        float(conditions["slice_thickness_mm"]) / 10,
        AIR,
        ((TO + FROM) / 2 * h, float(shift[0]) - 0.03 * patient.field, float(shift[1])),
    )
    rng, texture = of["organs"], of["texture"]
    add_wall(texture, volume, trunk, STRUCTURES)
    for side in (-1, 1):
        volume.paint(lung(trunk, side), -850.0, STRUCTURES["lungs"])
    inside = cavity(trunk)
    room = volume.cover(inside.grown(-0.25))
    volume.paint(inside, FAT - 3, STRUCTURES["fat"])
    white_line = loft(np.array([0.9, 2.2]) * h, -1.0 * d * trunk.belly, 0.0, 0.9, 0.35)
    volume.paint(white_line, FAT, within=volume.cover(trunk.outline(0.0)))
    column = trunk.column(TALLER)
    add_muscles(rng, volume, trunk, column, STRUCTURES["muscle"])
    add_bowel(rng, volume, trunk, room, STRUCTURES["bowel"])
    add_pancreas(rng, volume, trunk, room, STRUCTURES["pancreas"])
    add_stomach(rng, volume, trunk, room, STRUCTURES["stomach"])
    add_spleen(rng, volume, trunk, room)
    liver = add_liver(rng, volume, trunk, room)
    add_vessels(rng, volume, trunk, column, STRUCTURES)
    kidneys = {side: add_kidney(rng, volume, trunk, side)[1] for side in (-1, 1)}
    add_column(texture, volume, trunk, column, STRUCTURES["vertebrae"])
    add_ribs(volume, trunk, STRUCTURES["ribs"])
    for side in (-1, 1):
        axes = rotation(yaw=side * 0.9, roll=-side * 0.35)
        wing = ellipsoid((1.84 * h, 0.42 * d, side * 0.37 * w), (0.26 * h, 0.45, 0.19 * w), axes)
        volume.paint(wing, 420 * patient.mineral, STRUCTURES["pelvis"])
        volume.paint(wing.grown(-0.2), 130 * patient.mineral, STRUCTURES["pelvis"])
    severity = float(conditions["severity"])
    lesion = None
    if conditions["pathology"] == "liver_lesion":
        lesion = add_liver_lesion(of["lesion"], volume, trunk, liver, severity)
    elif conditions["pathology"] == "kidney_cyst":
        lesion = add_cyst(of["lesion"], volume, trunk, kidneys, severity)
    return acquire(of["noise"], volume, patient, conditions, lesion, STRUCTURES["lesion"])


ABDOMEN_CT = Phantom("ct_volume", CONDITIONS, STRUCTURES, draw, WINDOW)
