"""The CT slice: a body in HU at the chest, the abdomen or the head, as filtered back-projection shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from medsynth.errors import InputError
from medsynth.phantoms import abdomen_section, chest_section, head_section
from medsynth.phantoms.ct_body import PHASES, SEXES, STRUCTURES, Patient, draw_patient
from medsynth.phantoms.fields import spectral
from medsynth.phantoms.phantom import Conditions, Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.section import Section
from medsynth.phantoms.shapes import cover, measure_lesion, pool

REGIONS = {
    "chest": (chest_section.build, ("nodule", "effusion")),
    "abdomen": (abdomen_section.build, ("liver_lesion", "kidney_cyst", "kidney_stone")),
    "head": (head_section.build, ("haemorrhage",)),
}
REGION_OF = {pathology: region for region, (_, own) in REGIONS.items() for pathology in own}
PATHOLOGIES = ("normal", *REGION_OF)
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "region": {"kind": "categorical", "values": list(REGIONS)},
    "contrast_agent": {"kind": "categorical", "values": list(PHASES)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "age_years": {"kind": "number", "range": [5.0, 95.0], "unit": "years"},
    "sex": {"kind": "categorical", "values": list(SEXES)},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
WINDOW = (-1000.0, 1000.0)
AIR = -1000.0
MU_WATER = 0.19  # 1/cm at about 70 keV, the effective energy of 120 kV (NIST SRDB 126)


def draw_patient_conditions(rng: np.random.Generator, overrides: Mapping[str, str | float]) -> Conditions:
    """Every class as likely; overrides take the place of draws without moving the others.

    A region that is set leaves its own pathologies and `normal`; a pathology that is set decides the region.
    """
    pick, place = rng.uniform(size=2)
    known = PATHOLOGIES if "region" not in overrides else ("normal", *REGIONS[str(overrides["region"])][1])
    pathology = str(overrides.get("pathology", known[int(pick * len(known))]))
    region = REGION_OF.get(pathology, overrides.get("region", list(REGIONS)[int(place * len(REGIONS))]))
    if overrides.get("region", region) != region:
        raise InputError(
            f"phantom ct: pathology {pathology!r} with region {overrides['region']!r}, expected region {region!r}"
        )
    others = {name: field for name, field in CONDITIONS.items() if name not in ("pathology", "region")}
    return draw_conditions(rng, others, {"pathology": pathology, "region": region} | dict(overrides))


def add_table(rng: np.random.Generator, section: Section, patient: Patient, back: float) -> None:
    """The couch: two thin shells around foam, under the patient whose back is at `back` cm."""
    bend, hang, thick = rng.uniform(0.004, 0.012), rng.uniform(0.6, 2.5), rng.uniform(2.0, 6.0)
    y, x = section.place
    top = y - back - hang + bend * x**2
    half = rng.uniform(18, 24)
    beside = cover(np.abs(x) - half, section.pixel)
    # The lower shell climbs to the upper one at the couch's edges.
    under = top - thick * (1 - (np.abs(x) / half).clip(0, 1) ** rng.uniform(2, 5))
    outside = cover(-top + 0.05, section.pixel) * beside
    section.mix(outside * cover(under, section.pixel), AIR + 40)
    for distance in (top, under):
        # A shell thinner than a pixel covers a part of it.
        section.mix(outside_share(np.abs(distance), 0.12, section.pixel) * beside, 150.0)


def outside_share(distance: np.ndarray, half: float, pixel: float) -> np.ndarray:
    """Share of a pixel that a sheet of half-thickness `half` at a distance covers."""
    low, high = np.maximum(distance - pixel / 2, -half), np.minimum(distance + pixel / 2, half)
    return np.clip(high - low, 0, None) / pixel


def noise(rng: np.random.Generator, section: Section, patient: Patient) -> np.ndarray:
    """Noise of filtered back-projection in HU: its power rises with the frequency (the ramp) up to the kernel's fall.

    A projection adds noise along its rays alone, and the more the longer its rays' path through the body: so shoulders,
    hips and obese flanks streak (Hanson 1981; Kak and Slaney 1988, chapter 5).
    """
    down, across = patient.outline.radii
    density = patient.density

    def amplitude(v: np.ndarray, u: np.ndarray) -> np.ndarray:
        frequency = np.hypot(v, u)
        square = np.maximum(frequency, 1e-9) ** 2
        # A frequency along an angle is measured by the rays across it: the body's chord in that direction.
        chord = 2 * down * across / np.sqrt((v**2 * down**2 + u**2 * across**2) / square + 1e-9)
        photons = np.exp(0.5 * MU_WATER * density * (np.minimum(chord, 60) - 2 * down))
        cycles = frequency / (section.pixel * min(section.size))
        return np.sqrt(frequency) * photons * np.exp(-((cycles / patient.kernel) ** 2))

    field = spectral(rng, section.size, amplitude)
    y, x = section.place
    edge = (y / down) ** 2 + (x / across) ** 2
    local = 0.35 + 0.65 * np.exp(-0.7 * edge)
    loss = np.exp(0.5 * MU_WATER * density * (np.sqrt(down * across) * 2 - 28))
    return patient.noise * float(np.clip(loss, 0.4, 3)) * field * local


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; separate random streams keep anatomy, scan and noise when a condition changes."""
    traits, person, anatomy, acquired, lesion, grain = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(6)
    )
    conditions = draw_patient_conditions(traits, overrides)
    patient = draw_patient(person, conditions)
    at = (size[0], size[1])
    fine = 2 if max(at) <= 128 and conditions["region"] == "head" else 1  # the others' borders are soft anyway
    section = Section((fine * at[0], fine * at[1]), patient.field, AIR, patient.shift)
    build = REGIONS[str(conditions["region"])][0]
    if conditions["region"] != "head":
        add_table(acquired, section, patient, patient.outline.radii[0])
    found = build(anatomy, lesion, section, patient, str(conditions["pathology"]), float(conditions["severity"]))
    seen = Section(at, patient.field, AIR, patient.shift)
    hu = pool(section.values, at)
    labels = section.labels.reshape(at[0], fine, at[1], fine)[:, fine // 2, :, fine // 2].copy()
    if found is not None:
        share = pool(found, at)
        labels[share >= min(0.5, share.max())] = STRUCTURES["lesion"]
    hu = gaussian_filter(hu, patient.blur / seen.pixel)
    voxels = np.clip(hu + noise(grain, seen, patient), *WINDOW)
    return PhantomImage(
        voxels[None].astype(np.float32),
        labels,
        conditions | measure_lesion(labels, STRUCTURES["lesion"]),
        (10 * seen.pixel,) * 2,
    )


CT = Phantom("ct", CONDITIONS, STRUCTURES, draw, WINDOW)
