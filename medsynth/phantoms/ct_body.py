"""Parts of every CT section: the patient, HU of tissues by the phase of contrast, the body wall, the spine and ribs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medsynth.phantoms.phantom import Conditions
from medsynth.phantoms.section import Section, inset, on_rim
from medsynth.phantoms.shapes import Blob, draw_waves

SEXES = ("female", "male")
PHASES = ("none", "arterial", "venous")
STRUCTURES = {"lungs": 1, "heart": 2, "liver": 3, "kidneys": 4, "brain": 5, "bone": 6, "lesion": 7}
FAT, GAS = -100.0, -980.0

# HU without contrast, in the arterial and in the portal venous phase: typical means, see Bae 2010 (Radiology 256:32)
# and Lamba et al. 2014 (AJR 203:1013).
ENHANCEMENT: dict[str, tuple[float, float, float]] = {
    "artery": (42, 300, 150),
    "vein": (42, 75, 150),
    "lung_artery": (42, 220, 150),
    "portal": (42, 110, 170),
    "liver": (58, 72, 110),
    "spleen": (48, 120, 122),
    "cortex": (33, 170, 190),
    "medulla": (30, 60, 165),
    "pancreas": (40, 105, 90),
    "bowel": (38, 85, 90),
    "muscle": (55, 60, 66),
    "myocardium": (45, 105, 110),
    "grey": (38, 40, 42),
    "white": (29, 30, 31),
    "brain_vessel": (45, 180, 130),
}


@dataclass(frozen=True)
class Patient:
    """A person and how they were scanned.

    Attributes:
        age: in years.
        male: 1 or 0.
        fat: thickness under the skin in cm.
        outline: the body's, in cm.
        mineral: of bone; 1 for a young adult.
        phase: of contrast, an index into ENHANCEMENT's rows.
        field: side of the image in cm.
        shift: (down, right) of the body in the field in cm.
        density: the body's mean attenuation relative to water, along a ray.
        noise: HU in the middle of a body 28 cm across, at 256 pixels.
        kernel: cycles per cm at which the kernel's gain is 1 / e.
        blur: standard deviation of the point spread in cm.
    """

    age: float
    male: bool
    fat: float
    outline: Blob
    mineral: float
    phase: int
    field: float
    shift: tuple[float, float]
    density: float
    noise: float
    kernel: float
    blur: float

    def hu(self, tissue: str) -> float:
        return ENHANCEMENT[tissue][self.phase]


def draw_patient(rng: np.random.Generator, conditions: Conditions) -> Patient:
    """The build follows age, sex and chance; children are smaller and leaner."""
    bulk, tall, deep, fill, dose, sharp, right, down = rng.uniform(-1, 1, 8)
    age, male = float(conditions["age_years"]), conditions["sex"] == "male"
    region = conditions["region"]
    grown = 0.58 + 0.42 * np.clip((age - 2) / 16, 0, 1)
    fat = (0.5 + 1.9 * (0.5 + 0.5 * bulk) ** 1.6 + (0.3 if not male else 0)) * grown**2
    core = (14.0 + 1.3 * male + 0.7 * tall) * grown
    if region == "head":
        size = (9.3, 7.5)
        grown = 0.93 + 0.07 * np.clip((age - 2) / 16, 0, 1)
        outline = Blob((0.0, 0.0), (size[0] * grown, size[1] * grown))
        field = 22.5 + 2.5 * fill
        density, noise = 1.4, 5.0
    else:
        belly = 0.4 * max(bulk, 0) if region == "abdomen" else 0.1 * bulk
        depth = core * (0.68 + 0.05 * deep + 0.13 * belly)
        # Flanks and back are flatter than an ellipse's.
        waves = ((4, 0.025, np.pi), *draw_waves(rng, 0.012, (3, 4, 5)))
        outline = Blob((0.0, 0.0), (depth + fat, core + 0.95 * fat), 0.0, waves)
        field = 2 * outline.radii[1] / (0.80 + 0.13 * fill)
        density, noise = (0.72 if region == "chest" else 1.0), 17.0
    return Patient(
        age=age,
        male=bool(male),
        fat=float(fat),
        outline=outline,
        mineral=float(np.clip(1.1 - 0.006 * max(age - 25, 0), 0.5, 1.1)),
        phase=PHASES.index(str(conditions["contrast_agent"])),
        field=float(field),
        shift=(0.015 * field * down - 0.02 * field, 0.02 * field * right),
        density=density,
        noise=float(noise * 2**dose),
        kernel=float(4.5 * 1.5**sharp),
        blur=float(0.055 * 1.3**-sharp),
    )


def add_wall(rng: np.random.Generator, section: Section, patient: Patient) -> Blob:
    """Skin, fat and the muscles of the trunk; returns the outline of the muscles."""
    outline = patient.outline
    section.paint(outline, 10.0)
    section.paint(inset(outline, 0.17), FAT)
    down, across = outline.radii
    front = patient.fat * rng.uniform(0.8, 1.5)
    muscles = Blob(
        ((front - 0.8 * patient.fat) / 2, 0.0),
        (down - (front + 0.8 * patient.fat) / 2, across - 0.95 * patient.fat),
        0.0,
        outline.waves,
    )
    section.paint(muscles, patient.hu("muscle") - 4)
    return muscles


def add_back_muscles(rng: np.random.Generator, section: Section, patient: Patient, spine: tuple[float, float]) -> None:
    """The erector muscles beside the spinous process, with fat between and within them by age."""
    grown = patient.outline.radii[1] / 17
    fatty = 0.2 + 0.8 * np.clip((patient.age - 30) / 60, 0, 1)
    for side in (-1, 1):
        middle = (spine[0] + 4.0 * grown, spine[1] + side * 3.1 * grown)
        section.paint(Blob(middle, (2.2 * grown, 2.9 * grown), 0.0, draw_waves(rng, 0.08)), FAT, edge=0.15)
        section.paint(
            Blob(middle, (1.9 * grown, 2.65 * grown), 0.0, draw_waves(rng, 0.08)), patient.hu("muscle"), edge=0.15
        )
        points = np.array(middle) + rng.normal(0, (0.9 * grown, 1.3 * grown), (30, 2))
        section.mix(0.8 * fatty * section.deposit(points, rng.uniform(0.02, 0.12, 30)), FAT)


def add_spine(rng: np.random.Generator, section: Section, patient: Patient, centre: tuple[float, float]) -> None:
    """A vertebra: body, arch, canal and processes; cortical bone around marrow that loses mineral with age."""
    g = (patient.outline.radii[1] / 17) ** 0.5
    y, x = centre
    bone, cortex = STRUCTURES["bone"], 520 * patient.mineral
    marrow = 60 + 150 * patient.mineral
    length = rng.uniform(0.7, 1.2)
    for side in (-1, 1):  # pedicle, transverse process, lamina
        section.paint(Blob((y + 1.9 * g, x + side * 1.25 * g), (0.9 * g, 0.42 * g), side * 0.25), cortex, bone)
        reach = 1.6 * g * length
        section.paint(
            Blob((y + 2.6 * g, x + side * (1.4 * g + 0.6 * reach)), (0.38 * g, reach), -side * 0.25), 0.8 * cortex, bone
        )
        section.paint(Blob((y + 3.1 * g, x + side * 0.7 * g), (0.35 * g, 1.05 * g), side * 0.75), 1.1 * cortex, bone)
    section.paint(Blob((y + 4.2 * g, x), (1.3 * g * length, 0.36 * g)), cortex, bone)
    body = Blob((y, x), (1.65 * g, 2.15 * g), 0.0, ((2, 0.03, 0.0), *draw_waves(rng, 0.02, (3, 4))))
    section.paint(body, cortex, bone)
    section.paint(inset(body, 0.17 * g), marrow, edge=0.1)
    points = np.array(centre) + rng.normal(0, (0.8 * g, 1.1 * g), (40, 2))
    section.mix(section.deposit(points, rng.uniform(0.01, 0.04, 40)), marrow + 200 * patient.mineral)
    section.paint(Blob((y + 2.0 * g, x), (0.78 * g, 1.0 * g)), 0.0)
    section.paint(Blob((y + 2.0 * g, x), (0.45 * g, 0.6 * g)), 38.0)
    labels = section.share(Blob((y + 2.0 * g, x), (0.78 * g, 1.0 * g))) > 0.5
    section.labels[labels] = 0


def add_ribs(
    rng: np.random.Generator, section: Section, patient: Patient, rim: Blob, angles: np.ndarray, length: float
) -> None:
    """Ribs cut obliquely: short arcs of cortical bone around marrow along a rim."""
    g = (patient.outline.radii[1] / 17) ** 0.5
    for angle in angles:
        y, x, tangent = on_rim(rim, angle + 0.06 * rng.standard_normal())
        long = g * length * rng.uniform(0.45, 1.2)
        rib = Blob((y, x), (0.45 * g, long), -tangent)
        section.paint(rib, 480 * patient.mineral + 60, STRUCTURES["bone"])
        if long > 0.5:
            section.paint(inset(rib, 0.18 * g), 110 + 90 * patient.mineral)
