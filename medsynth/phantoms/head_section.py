"""The head in CT: scalp, skull, and a brain with wider ventricles in the old; haemorrhage."""

from __future__ import annotations

import numpy as np

from medsynth.phantoms.brain import draw_brain, draw_spot
from medsynth.phantoms.ct_body import FAT, STRUCTURES, Patient
from medsynth.phantoms.fields import smooth
from medsynth.phantoms.section import Section
from medsynth.phantoms.shapes import Blob, cover, draw_waves

BLOOD = 72.0  # HU of a clot


def build(
    rng: np.random.Generator,
    lesion: np.random.Generator,
    section: Section,
    patient: Patient,
    pathology: str,
    severity: float,
) -> np.ndarray | None:
    """Paint a head 10 to 50 mm above the commissures; returns the share of each pixel that blood covers, or None."""
    level = rng.uniform(8, 48)
    brain = draw_brain(rng, 10 * section.place, level, patient.age)
    out = brain.outside
    size = section.size
    edge = max(10 * section.pixel, 0.6)
    thick = np.clip(6.0 + 0.8 * rng.standard_normal() + 1.2 * smooth(rng, size, 4), 3, 12)
    scalp = np.clip(4.5 + 1.2 * smooth(rng, size, 4) + rng.uniform(-1, 2), 2, 14)
    section.mix(cover(out - thick - scalp, edge), 20.0)
    section.mix(cover(out - thick - scalp + 1.4, edge), FAT + 30)
    muscle = np.clip((np.abs(brain.x) - 40) / 12, 0, 1) * np.clip((brain.y + 45) / 15, 0, 1)
    section.mix(cover(out - thick - 0.7 * scalp, edge) * muscle, 55.0)
    section.mix(cover(out - thick, edge), 1150 * patient.mineral, STRUCTURES["bone"])
    diploe = cover(out - thick + 1.9, edge) * cover(1.7 - out, edge)
    section.mix(diploe, 480 * patient.mineral + 60 * smooth(rng, size, 20))
    tissue = patient.hu("grey") * brain.grey + patient.hu("white") * brain.white + 6 * brain.fluid
    inside = brain.grey + brain.white + brain.fluid
    section.values += inside * -section.values + tissue
    section.labels[inside > 0.5] = 0
    section.labels[brain.grey + brain.white > 0.5] = STRUCTURES["brain"]
    # The falx, and the sagittal sinus behind it.
    falx = cover(np.abs(brain.x) - 0.7, edge) * cover(np.abs(brain.y + 18) * -1 + 38, 6) * inside
    section.mix(0.6 * falx, 48.0 if patient.phase == 0 else 75.0)
    sinus = cover(np.hypot((brain.x) / 4, (brain.y + 97) / 5) * 4 - 4, edge) * inside
    section.mix(sinus, 50.0 if patient.phase == 0 else patient.hu("brain_vessel"))
    vessels = np.stack([rng.uniform(-7, 7, 40), rng.uniform(-6, 6, 40)], 1)
    if patient.phase:
        section.mix(
            0.6 * section.deposit(vessels, rng.uniform(0.004, 0.025, 40)) * brain.fluid.clip(0.2, 1) * inside, 180.0
        )
    if patient.age > 25 and level < 16:  # chalk in the choroid plexus
        for side in (-1, 1):
            chalk = cover(np.hypot(brain.x - side * 20, brain.y + 40) - rng.uniform(0.8, 2.5), edge)
            section.mix(0.7 * chalk * inside, 280.0)
    # Between thick bones the beam hardens: a faint shade of the rim of the brain is brighter.
    section.values += 7 * np.exp(np.minimum(out, 0) / 5) * inside
    if pathology == "haemorrhage":
        return add_haemorrhage(lesion, section, level, brain.x, brain.y, out, inside, severity)
    return None


def add_haemorrhage(
    rng: np.random.Generator,
    section: Section,
    level: float,
    x: np.ndarray,
    y: np.ndarray,
    out: np.ndarray,
    inside: np.ndarray,
    severity: float,
) -> np.ndarray:
    """Fresh blood: in the brain with oedema around it, or under the dura as a crescent; more when more severe."""
    edge = max(10 * section.pixel, 0.8)
    ragged = 0.7 * smooth(rng, section.size, 10) + 0.6 * smooth(rng, section.size, 22)
    kind = rng.random()
    spot = draw_spot(rng, level, 16)
    radius = 6 + 19 * severity * rng.uniform(0.9, 1.1)
    blob = Blob((spot[1], spot[0]), (radius, 0.8 * radius), rng.uniform(0, np.pi), draw_waves(rng, 0.15))
    towards, width = rng.uniform(-0.7, 0.7), rng.uniform(0.8, 1.3)
    side = 1 if spot[0] > 0 else -1
    if kind < 0.65:
        distance = blob.distance(np.stack([y, x])) + 0.08 * radius * ragged
        share = cover(distance, edge) * inside
        section.mix(0.75 * cover(distance - 3 - 5 * severity, 3.0) * (1 - share) * inside, 20.0)
    else:
        bearing = np.arctan2(y + 18, side * x) - towards
        deep = (3 + 15 * severity) * np.clip(1 - (bearing / width) ** 2, 0, None)
        share = cover(-out - deep, edge) * inside * (deep > 0.5)
    section.mix(share, BLOOD + 3 * ragged)
    return share
