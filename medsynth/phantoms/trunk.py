"""The trunk as CT volumes see it: the torso of the chest radiograph with HU, its wall, spine and ribs, and the scan.

Places are in cm, (z, y, x): z from the apex of the lungs towards the feet, y to the back, x to the patient's left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter1d

from medsynth.images.modalities import MODALITIES
from medsynth.phantoms.bodies import Body, ellipsoid, loft, rotation
from medsynth.phantoms.column import Column
from medsynth.phantoms.ct import noise
from medsynth.phantoms.ct_body import FAT, PHASES, SEXES, Patient, draw_patient
from medsynth.phantoms.phantom import Conditions, PhantomImage
from medsynth.phantoms.section import Section
from medsynth.phantoms.shapes import Blob
from medsynth.phantoms.skeleton import pitch, rib_lines
from medsynth.phantoms.torso import BODY_AT, BODY_DEPTH, BODY_WIDTH, Torso, draw_torso
from medsynth.phantoms.volume import Volume, finish

AIR, SKIN = -1000.0, 10.0
WINDOW = MODALITIES["ct_volume"].limits
NOISE_SLICE_CM = 0.3  # thickness of the slices that `Patient.noise` is of
BELOW = 2.2  # the trunk goes on so far, in heights of the lungs


def scanned(pathologies: tuple[str, ...], youngest: float) -> dict[str, dict[str, Any]]:
    """The conditions of a CT volume."""
    return {
        "pathology": {"kind": "categorical", "values": list(pathologies)},
        "contrast_agent": {"kind": "categorical", "values": list(PHASES)},
        "severity": {"kind": "number", "range": [0.0, 1.0]},
        "age_years": {"kind": "number", "range": [youngest, 95.0], "unit": "years"},
        "sex": {"kind": "categorical", "values": list(SEXES)},
        "slice_thickness_mm": {"kind": "number", "range": [1.0, 10.0], "unit": "mm"},
        "lesion": {"kind": "lesions", "severity": "severity"},
    }


@dataclass(frozen=True)
class Trunk:
    """One patient's trunk.

    Attributes:
        torso: its measures.
        patient: HU by the phase of contrast, noise and kernel of the scan.
        belly: the abdomen's depth, as a share of the chest's.
    """

    torso: Torso
    patient: Patient
    belly: float

    def outline(self, extra: float) -> Body:
        """The muscular wall, `extra` cm further out."""
        t = self.torso
        knots = np.array([*BODY_AT[:-1], 1.1, BELOW])
        wide = t.width * np.interp(knots, BODY_AT, BODY_WIDTH)
        deep = t.depth * np.interp(knots, BODY_AT, BODY_DEPTH)
        deep[-2:] *= self.belly
        bulge = np.array([*np.zeros(len(knots) - 2), *(deep[-2:] * (1 - 1 / self.belly))])
        body = loft(knots * t.height, 0.05 * t.depth - 0.8 * bulge, 0.0, deep + extra, wide + extra, 2.35)
        for side in (-1, 1):  # the shoulders of raised arms
            centre = (-0.03 * t.height, 0.10 * t.depth, side * 0.42 * t.width)
            body = body | ellipsoid(centre, np.array((0.17, 0.14, 0.17)) * t.width + extra)
        return body

    def column(self, pitch_of: float = 1.0) -> Column:
        """The spine behind the lungs and the abdomen; `pitch_of` stretches it where vertebrae are taller."""
        t = self.torso
        knots = np.linspace(-0.3, BELOW, 60)
        chest = 0.10 * np.sin(np.pi * np.clip(knots / 0.95, 0, 1)) - 0.30 * np.clip(-knots / 0.3, 0, 1)
        loin = -0.16 * np.sin(np.pi * np.clip((knots - 0.95) / 1.0, 0, 1))
        size = t.width * (0.046 + 0.012 * np.clip(knots, 0, 1.4))
        step = pitch(t) * pitch_of
        return Column(
            knots * t.height,
            t.depth * (0.46 + chest + loin),
            0.78 * size,
            size,
            step,
            start=-0.3 * t.height,
            slant=0.5 if pitch_of < 1.2 else 0.1,
            spinous=0.075 * t.width,
        )


def draw_trunk(rng: np.random.Generator, scan: np.random.Generator, conditions: Conditions, region: str) -> Trunk:
    """A patient of an age and sex; the torso is that of the chest radiograph of the same seed."""
    age, sex = float(conditions["age_years"]), str(conditions["sex"])
    torso = draw_torso(rng, age, sex)
    patient = draw_patient(scan, conditions | {"region": region})
    deep, wide = 1.13 * torso.depth + torso.fat, 0.57 * torso.width + torso.fat
    patient = replace(
        patient,
        outline=Blob((0.0, 0.0), (deep, wide)),
        fat=torso.fat,
        mineral=float(min(patient.mineral, 1.1 * torso.mineral)),
        field=float(2 * wide / (0.86 + 0.05 * scan.uniform(-1, 1))),
    )
    return Trunk(torso, patient, float(1.02 + 0.35 * np.clip(torso.fat / torso.width - 0.02, 0, 0.3) / 0.1))


def lung(trunk: Trunk, side: int) -> Body:
    """A pleural space of the radiograph's torso within its wall and above its diaphragm; side 1 is the left."""
    torso = trunk.torso
    at = np.linspace(0, 1, 40) * torso.height
    lateral, medial, depth = torso.edges(at)
    shape = loft(at, 0.0, side * (lateral + medial) / 2, depth, np.maximum((lateral - medial) / 2, 0.1), 2.4)
    return (shape & trunk.outline(-0.035 * torso.width)) - diaphragm(torso, side)


def diaphragm(torso: Torso, side: int) -> Body:
    """What lies below a dome of the radiograph's diaphragm, a paraboloid that meets the flank at the lung's angle."""
    w, h, d = torso.width, torso.height, torso.depth
    top = torso.domes[int(side > 0)]
    centre = 0.17 * w

    def distance(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        across = (x - side * centre) / (0.475 * w - centre)
        front = (y + 0.12 * d) / (1.45 * d)
        return (across**2 + front**2 - (z / h - top) / (1 - top)) * (1 - top) * h

    return Body(distance, (0.7 * h, -1e3, -1e3), (1e3, 1e3, 1e3))


def add_wall(rng: np.random.Generator, volume: Volume, trunk: Trunk, numbers: Mapping[str, int]) -> None:
    """Skin, fat and muscles; `numbers` of the label map by name."""
    torso, patient = trunk.torso, trunk.patient
    muscle = patient.hu("muscle")
    volume.paint(trunk.outline(torso.fat), SKIN, numbers["skin"])
    volume.paint(trunk.outline(torso.fat - 0.2), FAT, numbers["fat"])
    wall = volume.cover(trunk.outline(0.0))
    # Fat between muscles: more with age, in sheets along the wall.
    sheets = volume.texture(rng, 14)
    volume.mix(wall, muscle - 25 * np.clip(sheets - 0.4 + 0.008 * patient.age, 0, 1.5), numbers["muscle"])


def add_column(rng: np.random.Generator, volume: Volume, trunk: Trunk, column: Column, number: int) -> None:
    """Erector muscles, vertebrae with a cortical shell about marrow, discs, and the cord in its canal."""
    patient, w = trunk.patient, trunk.torso.width
    knots = column.knots
    within = volume.cover(trunk.outline(0.0))
    back = column.middle + column.half_y + 3.0
    for side in (-1, 1):
        for by, value in ((0.008, FAT + 100), (0.0, patient.hu("muscle"))):
            erector = loft(knots, back, side * 0.085 * w, (0.058 + by) * w, (0.078 + by) * w, 2.6)
            volume.paint(erector, value, within=within)
    grain = volume.texture(rng, 40)
    mineral = patient.mineral
    volume.paint(column.arches(), 420 * mineral + 60 * grain, number, within=within)
    volume.paint(column.discs(), 85.0)
    volume.paint(column.bodies(), 380 * mineral, number)
    volume.paint(column.bodies(0.14), 60 + 130 * mineral + 30 * grain, number)
    canal = volume.cover(column.canal(1.0))
    volume.mix(canal, -20.0)
    volume.labels[canal > 0.5] = 0
    volume.paint(column.canal(0.80), 12.0)
    volume.paint(column.canal(0.52), 36.0)


def add_ribs(volume: Volume, trunk: Trunk, number: int) -> None:
    """Twelve pairs, cortical bone about marrow: the lines of the radiograph's."""
    torso = trunk.torso
    lines, wide, bony = rib_lines(torso, 70)
    lines = lines[..., [1, 2, 0]] * (1, -1, 1)  # as (z, y, x)
    ends = lines[:7, -1]
    breastbone = np.stack(
        [0.75 * ends[:, 0] + 0.12 * torso.height, 0 * ends[:, 0] - torso.depth, -0.05 + 0 * ends[:, 0]], 1
    )
    cartilage = np.stack([ends + t * (breastbone - ends) for t in np.linspace(0, 1, 12)], 1)
    for points, radii, value, label in (
        (cartilage, np.full(cartilage.shape[:2], 0.9 * wide[1, 0]), 95.0, None),
        (lines, wide * (0.4 + 0.6 * bony), 60 + 330 * trunk.patient.mineral, number),
    ):
        share = volume.strands(np.concatenate([points, points * (1, 1, -1)]), np.tile(radii, (2, 1)))
        volume.mix(share, value)
        if label is not None:
            volume.labels[share > 0.35] = label


def add_shoulders(volume: Volume, trunk: Trunk, number: int) -> None:
    """Heads of the upper arms, shoulder blades along the ribs, and the fat under them; the arms are raised."""
    torso, patient = trunk.torso, trunk.patient
    w, h, d = torso.width, torso.height, torso.depth
    inside = volume.cover(trunk.outline(-0.3))
    for side in (-1, 1):
        head = ellipsoid((-0.07 * h, 0.05 * d, side * 0.47 * w), (0.075 * w, 0.075 * w, 0.075 * w))
        volume.paint(head, 330 * patient.mineral, number)
        volume.paint(head.grown(-0.25), 180 * patient.mineral, number)
        pit = ellipsoid((0.12 * h, 0.0, side * 0.43 * w), (0.13 * h, 0.35 * d, 0.05 * w))
        volume.paint(pit, FAT, edge=0.4)
        axes = rotation(yaw=side * 0.75, roll=side * 0.25)
        blade = ellipsoid((0.20 * h, 0.78 * d, side * 0.40 * w), (0.26 * h, 0.28, 0.12 * w), axes)
        volume.paint(blade.grown(0.5), FAT + 60, within=inside)
        volume.paint(blade, 350 * patient.mineral, number, within=inside)


def acquire(
    rng: np.random.Generator,
    volume: Volume,
    patient: Patient,
    conditions: Conditions,
    lesion: np.ndarray | None,
    number: int,
) -> PhantomImage:
    """Blur of the kernel, quantum noise of the dose and the slice thickness, and the image in RAS+ axes.

    Noise falls with the root of the photons and so of the thickness; slices that overlap share theirs.

    Args:
        lesion: share of each part that it covers, or None.
        number: its label.
    """
    pixel = volume.spacing[1]
    hu = gaussian_filter(volume.mean(), (0, patient.blur / pixel, patient.blur / pixel))
    section = Section(volume.size[1:], min(volume.field[1:]), AIR)
    grain = np.stack([noise(rng, section, patient) for _ in range(volume.size[0])])
    together = max(1, round(volume.thickness / volume.spacing[0]))
    grain = uniform_filter1d(grain, together, axis=0, mode="wrap") * np.sqrt(together)
    hu = np.clip(hu + grain * np.sqrt(NOISE_SLICE_CM / volume.thickness), *WINDOW)
    return finish(volume, hu, conditions, lesion, number)


def part_streams(seed: int) -> Mapping[str, np.random.Generator]:
    """Random streams of a patient, so that anatomy, scan and noise stay when a condition changes."""
    names = ("traits", "anatomy", "scan", "lesion", "noise", "organs", "texture")
    return {
        name: np.random.default_rng(part)
        for name, part in zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True)
    }
