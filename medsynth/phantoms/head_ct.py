"""The head as a CT volume: skull, scalp and face about an MNI152 brain whose ventricles widen with age; haemorrhage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from medsynth.phantoms.bodies import draw_bumps
from medsynth.phantoms.ct_body import FAT, draw_patient
from medsynth.phantoms.head import (
    FROM_MM,
    SIDE_MM,
    STRUCTURES,
    TO_MM,
    Head,
    ball,
    draw_head,
    label,
    paint_head,
    pool,
    ragged,
    ramp,
    spot,
)
from medsynth.phantoms.head_section import BLOOD
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.trunk import AIR, SKIN, WINDOW, acquire, part_streams, scanned
from medsynth.phantoms.volume import Volume

PATHOLOGIES = ("normal", "haemorrhage")
CONDITIONS = scanned(PATHOLOGIES, 18.0)
SUBDURAL = 0.35  # share of haemorrhages that lie under the dura


def haemorrhage(rng: np.random.Generator, volume: Volume, head: Head, severity: float) -> np.ndarray:
    """Fresh blood: in the brain with oedema around it, or under the dura as a crescent; more when more severe.

    Returns the share of each part that it covers.
    """
    brain, z = head.brain, head.z
    inside = brain.grey + brain.white + brain.fluid
    uneven = ragged(rng, volume)
    kind, place = rng.random(), spot(rng, head, 16)
    radius = 6 + 20 * severity * rng.uniform(0.9, 1.1)
    distance = ball(head, place, (0.85 * radius, radius, 0.9 * radius), draw_bumps(rng, 0.1)) + 0.08 * radius * uneven
    towards, width, middle = rng.uniform(-0.7, 0.7), rng.uniform(0.9, 1.4), rng.uniform(15, 45)
    if kind > SUBDURAL:
        share = ramp(volume, distance) * inside
        volume.mix(0.75 * ramp(volume, distance - 3 - 5 * severity, 6.0) * (1 - share) * inside, 20.0)
    else:
        side = 1 if place[0] > 0 else -1
        bearing = np.arctan2(brain.y + 18, side * brain.x) - towards
        deep = (3 + 15 * severity) * np.clip(1 - (bearing / width) ** 2 - ((z - middle) / 48) ** 2, 0, None)
        share = ramp(volume, -brain.outside - deep) * inside * (deep > 0.5) * (side * brain.x > 2)
    volume.mix(share, BLOOD + 3 * uneven)
    return share


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; voxels along (z, y, x) over SIDE_MM across and FROM_MM to TO_MM of the template's height."""
    of = part_streams(seed)
    conditions = draw_conditions(of["traits"], CONDITIONS, overrides)
    patient = draw_patient(of["scan"], conditions | {"region": "head"})
    side = SIDE_MM / 10 * (1.0 if patient.male else 0.965) * (1 + 0.03 * of["scan"].uniform(-1, 1))
    patient = replace(patient, field=side)
    thickness = float(conditions["slice_thickness_mm"]) / 10
    middle = (-(FROM_MM + TO_MM) / 20, *(0.25 * of["scan"].uniform(-1, 1, 2)))
    field = ((TO_MM - FROM_MM) / 10, side, side)
    fine = 2 if max(size) <= 64 else 1
    volume = Volume((size[0], fine * size[1], fine * size[2]), field, thickness, AIR, middle)
    head = draw_head(of["anatomy"], volume, patient.age)
    phase = patient.phase
    tissue = {
        "skin": SKIN,
        "fat": FAT + 20,
        "muscle": patient.hu("muscle"),
        "bone": 1050 * patient.mineral,
        "grey": patient.hu("grey"),
        "white": patient.hu("white"),
        "fluid": 6.0,
        "gland": patient.hu("muscle") - 20 + 25 * (phase > 0),
        "vitreous": 8.0,
        "blood": patient.hu("brain_vessel"),
        "air": AIR + 30,
    }
    paint_head(of["organs"], volume, head, tissue, 50.0 if phase == 0 else tissue["blood"], 480 * patient.mineral)
    brain = head.brain
    inside = brain.grey + brain.white + brain.fluid
    # Between thick bones the beam hardens: the rim of the brain is a little brighter.
    volume.values += (7 * np.exp(np.minimum(brain.outside, 0) / 5) * inside).astype(np.float32)
    number = STRUCTURES["lesion"]
    lesion = None
    if conditions["pathology"] != "normal":
        lesion = haemorrhage(of["lesion"], volume, head, float(conditions["severity"]))
    seen = Volume(size, field, thickness, AIR, middle)
    seen.values[...] = pool(volume.values, fine)
    seen.labels[...] = label(volume, head, fine)[:, None]
    return acquire(of["noise"], seen, patient, conditions, None if lesion is None else pool(lesion, fine), number)


HEAD_CT = Phantom("ct_volume", CONDITIONS, STRUCTURES, draw, WINDOW)
