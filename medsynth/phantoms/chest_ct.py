"""The chest as a CT volume: lungs with lobes, airways and vessels, heart and great vessels, ribs, spine; lesions.

The torso, its lungs, ribs and heart, is that of the chest radiograph (`chest_xray`) of the same seed, age and sex. The
vessels are not: those of the radiograph lie close to one plane, which a ray does not see but a section does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from medsynth.phantoms.bodies import Body, ellipsoid, fork, half_space, loft
from medsynth.phantoms.ct_body import FAT, GAS
from medsynth.phantoms.mediastinum import add_mediastinum
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.torso import Torso
from medsynth.phantoms.trunk import (
    AIR,
    SKIN,
    WINDOW,
    Trunk,
    acquire,
    add_column,
    add_ribs,
    add_shoulders,
    add_wall,
    diaphragm,
    draw_trunk,
    lung,
    part_streams,
    scanned,
)
from medsynth.phantoms.volume import Volume

PATHOLOGIES = ("normal", "nodule", "effusion")
CONDITIONS = scanned(PATHOLOGIES, 5.0)
LOBES = ("right_upper_lobe", "right_middle_lobe", "right_lower_lobe", "left_upper_lobe", "left_lower_lobe")
ORGANS = (
    *LOBES,
    "airways",
    "lung_vessels",
    "heart",
    "aorta",
    "liver",
    "spleen",
    "vertebrae",
    "ribs",
    "shoulders",
    "muscle",
    "fat",
    "skin",
    "lesion",
)
STRUCTURES = {name: number for number, name in enumerate(ORGANS, start=1)}
FROM, TO = -0.16, 1.14  # the block along z, in heights of the lungs
GENERATIONS = 6  # of vessels from the hilum


def add_lungs(volume: Volume, trunk: Trunk) -> tuple[np.ndarray, np.ndarray]:
    """Air spaces, heavier towards the back, with their fissures; returns the shares of the right and the left lung."""
    torso = trunk.torso
    h, d = torso.height, torso.depth
    number = STRUCTURES["right_upper_lobe"]
    right, left = (volume.cover(lung(trunk, side)) for side in (-1, 1))
    oblique = half_space((1.0, 0.30 * h / d, 0.0), 0.60 * h)  # from high behind to the base in front
    flat = half_space((1.0, 0.0, 0.0), 0.52 * h)
    upper, high = volume.cover(oblique) > 0.5, volume.cover(flat) > 0.5
    air = -865 + 75 * volume.y / d
    for share in (right, left):
        volume.mix(share, air)
    for share, lobes in ((right, (number, number + 1, number + 2)), (left, (number + 3, number + 3, number + 4))):
        for lobe, place in zip(lobes, (upper & high, upper & ~high, ~upper), strict=True):
            volume.labels[(share > 0.5) & place] = lobe
    for fissure, inside in ((oblique, right + left), (flat, right * upper)):
        sheet = Body(partial(_sheet, fissure), half=0.02)
        volume.paint(sheet, -350.0, within=inside)
    return right, left


def _sheet(boundary: Body, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.abs(boundary.distance(z, y, x)) - 0.02


def lung_tree(
    rng: np.random.Generator, torso: Torso, hilum: np.ndarray, side: int, radius: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Branches of a tree into a lung, by generation, as `fork` gives them."""
    up = np.linspace(-1.3, 1.3, 9) + 0.2 * rng.standard_normal(9)
    round_ = np.linspace(-1.3, 1.3, 9)[rng.permutation(9)]
    outward = side * np.cos(up) * np.cos(round_) + 0.25 * side
    aim = np.stack([torso.height / torso.width * np.sin(up), np.sin(round_) * 0.9, outward], 1)
    return fork(rng, hilum, aim, radius, 0.10 * torso.width, GENERATIONS, (1.35, 1.1, 0.85))


def add_trees(rng: np.random.Generator, volume: Volume, trunk: Trunk, lungs: np.ndarray) -> None:
    """Pulmonary arteries and veins, and the bronchi beside the arteries."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    inside = np.clip(lungs, 0, 1)
    vessels = np.zeros_like(inside)
    for side, low in ((-1, 0.49), (1, 0.45)):
        for drop, back, radius in ((0.0, 0.10, 0.0165), (0.07, 0.0, 0.0145)):
            hilum = np.array([(low + drop) * h, back * d, side * 0.115 * w])
            tree = lung_tree(rng, torso, hilum, side, radius * w)
            for lines, radii in tree:
                vessels = np.maximum(vessels, volume.strands(lines, radii))
            for lines, radii in tree[:3] if drop == 0 else ():
                beside = lines + np.array([0.0, 1.7 * float(radii.mean()), 0.0])
                wall = volume.strands(beside, radii * 0.85 + 0.06)
                volume.mix(0.5 * wall * inside, -100.0)
                volume.mix(volume.strands(beside, radii * 0.75) * inside, GAS + 40)
    blood = 0.5 * (patient.hu("lung_artery") + patient.hu("vein"))
    volume.mix(0.95 * vessels * inside, blood)
    volume.labels[(vessels * inside > 0.4) & (volume.labels > 0)] = STRUCTURES["lung_vessels"]


def add_upper_abdomen(volume: Volume, trunk: Trunk) -> None:
    """Below the diaphragm: liver, spleen and stomach in fat."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    cavity = loft(np.array([0.70, 1.0, 1.4]) * h, -0.05 * d, 0.0, np.array([0.95, 1.0, 1.0]) * d, 0.49 * w, 2.4)
    right, left = (diaphragm(torso, side) for side in (-1, 1))
    below = volume.cover(cavity & (right | left))
    volume.mix(below, FAT, STRUCTURES["fat"])
    below = volume.cover(cavity.grown(-0.15) & (right.grown(-0.3) | left.grown(-0.3)))
    tall = 0.25 * h
    liver = ellipsoid((1.02 * h, 0.0, -0.26 * w), (tall, 0.92 * d, 0.26 * w))
    lobe = ellipsoid((0.97 * h, -0.35 * d, 0.0), (0.13 * h, 0.5 * d, 0.26 * w))
    spleen = ellipsoid((1.02 * h, 0.42 * d, 0.36 * w), (0.16 * h, 0.42 * d, 0.12 * w))
    stomach = ellipsoid((1.02 * h, -0.20 * d, 0.24 * w), (0.15 * h, 0.55 * d, 0.17 * w))
    volume.paint(stomach, patient.hu("bowel") + 10, within=below)
    volume.paint(stomach.grown(-0.35), 25.0, within=below)
    bubble = half_space((0.0, 1.0, 0.0), (-0.35 + 0.3 * torso.gas) * d)
    volume.paint(stomach.grown(-0.35) & bubble, GAS, within=below)
    volume.paint(liver | lobe, patient.hu("liver"), STRUCTURES["liver"], within=below)
    volume.paint(spleen, patient.hu("spleen"), STRUCTURES["spleen"], within=below)


def add_breasts(volume: Volume, trunk: Trunk) -> None:
    torso = trunk.torso
    if torso.breast == 0:
        return
    w, h, d = torso.width, torso.height, torso.depth
    size = torso.breast
    for side in (-1, 1):
        breast = ellipsoid(
            (0.60 * h, -0.95 * d, side * 0.30 * w), (0.22 * h * size**0.5, 0.10 * w * size, 0.22 * w * size**0.5)
        )
        volume.paint(breast, SKIN, STRUCTURES["skin"])
        volume.paint(breast.grown(-0.2), FAT + 10, STRUCTURES["fat"])
        volume.paint(breast.grown(-0.045 * w * size), FAT + 70, edge=1.5)


def add_nodule(
    rng: np.random.Generator, volume: Volume, trunk: Trunk, lungs: tuple[np.ndarray, np.ndarray], severity: float
) -> np.ndarray:
    """A growth in a lung: larger, denser and more spiculated when more severe; returns its share of each part."""
    torso = trunk.torso
    w, h, d = torso.width, torso.height, torso.depth
    side = int(rng.integers(2))
    radius = (0.022 + 0.055 * severity * rng.uniform(0.85, 1.15)) * w
    up, deep, out = rng.uniform(0.18, 0.68), rng.uniform(-0.35, 0.5), rng.uniform(0.55, 0.8)
    lateral, _, _ = torso.edges(np.array(up * h))
    centre = (up * h, deep * d, (2 * side - 1) * out * float(lateral))
    waves = rng.normal(0, 7, (10, 3))
    heights = 0.25 * severity * rng.normal(0, 1, 10) / np.sqrt(10)
    bumps = np.column_stack([waves, heights, rng.uniform(0, 2 * np.pi, 10)])
    share = volume.cover(ellipsoid(centre, (radius, radius, radius), None, bumps)) * np.clip(lungs[side], 0, 1)
    volume.mix(share, -250 + 300 * severity**0.5)
    return share


def add_effusion(
    rng: np.random.Generator, volume: Volume, trunk: Trunk, lungs: tuple[np.ndarray, np.ndarray], severity: float
) -> np.ndarray:
    """Fluid that sinks to the back and the base of one lung of a patient who lies; returns its share of each part."""
    torso = trunk.torso
    h, d = torso.height, torso.depth
    side = int(rng.integers(2))
    level = (0.92 - 1.15 * severity) * d
    bow = rng.uniform(0.5, 0.9)

    def under(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        lateral, medial, _ = torso.edges(np.clip(z, 0, h))
        u = (np.abs(x) - (lateral + medial) / 2) / np.maximum((lateral - medial) / 2, 0.1)
        return level - y - bow * u**2 + 0.25 * d * np.clip(0.75 - z / h, -0.25, 1)

    lung_now = np.clip(lungs[side], 0, 1)
    share = volume.cover(Body(under)) * lung_now
    squeezed = volume.cover(Body(lambda z, y, x: under(z, y, x) - 1.5 * severity), edge=0.8) * lung_now
    volume.mix(0.75 * squeezed, 30.0)
    volume.mix(share, 10.0)
    return share


LESIONS = {"nodule": add_nodule, "effusion": add_effusion}


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient.

    Args:
        size: voxels along (z, y, x): over the lungs' height and a little more, and over a field as wide as the body.
    """
    of = part_streams(seed)
    conditions = draw_conditions(of["traits"], CONDITIONS, overrides)
    trunk = draw_trunk(of["anatomy"], of["scan"], conditions, "chest")
    torso = trunk.torso
    field = ((TO - FROM) * torso.height, trunk.patient.field, trunk.patient.field)
    shift = 0.02 * trunk.patient.field * of["scan"].uniform(-1, 1, 2)
    volume = Volume(
        size,
        field,
        float(conditions["slice_thickness_mm"]) / 10,
        AIR,
        ((TO + FROM) / 2 * torso.height, float(shift[0]) - 0.02 * field[1], float(shift[1])),
    )
    add_wall(of["texture"], volume, trunk, STRUCTURES)
    add_breasts(volume, trunk)
    add_shoulders(volume, trunk, STRUCTURES["shoulders"])
    right, left = add_lungs(volume, trunk)
    add_trees(of["organs"], volume, trunk, right + left)
    add_upper_abdomen(volume, trunk)
    add_mediastinum(of["organs"], volume, trunk, STRUCTURES)
    add_column(of["texture"], volume, trunk, trunk.column(), STRUCTURES["vertebrae"])
    add_ribs(volume, trunk, STRUCTURES["ribs"])
    sternum = loft(
        np.array([0.13, 0.2, 0.4, 0.62, 0.7]) * torso.height,
        np.array([-0.74, -0.86, -0.98, -1.0, -0.99]) * torso.depth,
        0.0,
        0.55,
        (2.4, 1.7, 1.5, 1.7, 0.6),
    )
    volume.paint(sternum, 330 * trunk.patient.mineral, STRUCTURES["ribs"])
    volume.paint(sternum.grown(-0.18), 130 * trunk.patient.mineral, STRUCTURES["ribs"])
    lesion = None
    if conditions["pathology"] != "normal":
        free = [share * (volume.values < -200) for share in (right, left)]
        lesion = LESIONS[str(conditions["pathology"])](
            of["lesion"], volume, trunk, (free[0], free[1]), float(conditions["severity"])
        )
    return acquire(of["noise"], volume, trunk.patient, conditions, lesion, STRUCTURES["lesion"])


CHEST_CT = Phantom("ct_volume", CONDITIONS, STRUCTURES, draw, WINDOW)
