"""The abdomen in CT: liver, spleen, kidneys, vessels, stomach and bowel; liver lesions, kidney cysts and stones."""

from __future__ import annotations

import numpy as np

from medsynth.phantoms.ct_body import FAT, STRUCTURES, Patient, add_back_muscles, add_ribs, add_spine, add_wall
from medsynth.phantoms.section import Section, Solid, inset
from medsynth.phantoms.shapes import Blob, draw_waves


def build(
    rng: np.random.Generator,
    lesion: np.random.Generator,
    section: Section,
    patient: Patient,
    pathology: str,
    severity: float,
) -> np.ndarray | None:
    """Paint an abdomen; returns the share (height, width) of each pixel that the lesion covers, or None.

    The plane lies between the upper pole (z = -4 cm) and the lower pole (z = 3.5 cm) of the kidneys, and where a
    lesion has its organ in it.
    """
    z = rng.uniform(-4, 3.5) if pathology not in ("kidney_cyst", "kidney_stone") else rng.uniform(-3, 3)
    if pathology == "liver_lesion":
        z = min(z, 1.5)
    muscles = add_wall(rng, section, patient)
    down, across = muscles.radii
    g = across / 15
    top = muscles.centre[0] - down
    spine = (muscles.centre[0] + 0.36 * down, 0.0)
    cavity = Blob((muscles.centre[0] - 0.03 * down, 0.0), (down - 1.1 * g, across - 1.5 * g), 0.0, muscles.waves)
    section.paint(Blob((top + 0.9 * g, 0.0), (1.3 * g, 0.5 * g)), FAT)  # the white line between the muscles
    section.paint(inset(cavity, -0.25 * g), FAT, edge=0.1)
    section.paint(cavity, FAT - 3)
    side_fat = 0.2 * g + 0.25 * patient.fat
    add_retroperitoneum(rng, section, patient, spine, g)
    add_bowel(rng, section, patient, cavity, g, z)
    add_gut(rng, section, patient, cavity, z, g)
    liver = add_liver(rng, section, patient, cavity, z, g, side_fat)
    kidneys = add_kidneys(rng, section, patient, spine, z, g)
    add_spine(rng, section, patient, spine)
    add_back_muscles(rng, section, patient, spine)
    if z < 1.5:
        angles = np.array([0.15, 0.5, 0.85, np.pi - 0.15, np.pi - 0.5, np.pi - 0.85, -0.25, np.pi + 0.25])
        add_ribs(rng, section, patient, inset(muscles, 0.75 * g), angles, 1.15)
    if pathology == "liver_lesion":
        return add_liver_lesion(lesion, section, patient, liver, g, severity)
    if pathology == "kidney_cyst":
        return add_cyst(lesion, section, kidneys, g, severity)
    if pathology == "kidney_stone":
        return add_stone(lesion, section, kidneys, g, severity)
    return None


def add_retroperitoneum(
    rng: np.random.Generator, section: Section, patient: Patient, spine: tuple[float, float], g: float
) -> None:
    """Psoas muscles, aorta with chalk by age, and the inferior vena cava."""
    y, _ = spine
    muscle = patient.hu("muscle")
    for side in (-1, 1):
        psoas = Blob((y + 0.5 * g, side * 3.4 * g), (2.1 * g, 1.25 * g), side * 0.2, draw_waves(rng, 0.06))
        section.paint(psoas, muscle)
        quadratus = Blob((y + 2.4 * g, side * 5.6 * g), (1.0 * g, 1.9 * g), -side * 0.3, draw_waves(rng, 0.06))
        section.paint(quadratus, muscle)
        crus = Blob((y - 1.2 * g, side * 1.7 * g), (1.6 * g, 0.45 * g), side * 0.3)
        section.paint(crus, muscle)
    wide = (0.95 + 0.003 * patient.age) * g
    at = (y - 2.9 * g, 0.9 * g)
    section.paint(Blob(at, (wide, wide)), patient.hu("artery"))
    if patient.age > 50:
        angle = rng.uniform(0, 2 * np.pi, 10)
        ring = np.array(at) + wide * np.stack([np.sin(angle), np.cos(angle)], 1)
        section.mix(section.deposit(ring, (patient.age - 50) / 45 * rng.uniform(0, 0.07, 10)), 700.0)
    cava = Blob((y - 2.6 * g, -2.2 * g), (rng.uniform(0.7, 1.1) * g, 1.25 * g), 0.2, draw_waves(rng, 0.06))
    section.paint(cava, patient.hu("vein"))
    section.paint(Blob((y - 4.9 * g, 0.8 * g), (0.4 * g, 0.4 * g)), patient.hu("artery"))
    section.paint(Blob((y - 5.0 * g, -0.8 * g), (0.55 * g, 0.55 * g)), patient.hu("portal"))


def add_gut(rng: np.random.Generator, section: Section, patient: Patient, cavity: Blob, z: float, g: float) -> None:
    """Stomach with a gas bubble above its content, spleen, pancreas and gallbladder, as they lie at z."""
    down, across = cavity.radii
    y0 = cavity.centre[0]
    spleen = Solid(
        Blob((y0 + 0.30 * down, 0.72 * across), (3.9 * g, 2.0 * g), 0.35, draw_waves(rng, 0.08)), -4.5, 6.0
    ).at(z)
    section.paint(spleen, patient.hu("spleen"))
    stomach = Solid(
        Blob((y0 - 0.42 * down, 0.45 * across), (3.0 * g, 4.6 * g), 0.35, draw_waves(rng, 0.1)), -4.0, 6.0
    ).at(z)
    fluid, bubble = rng.uniform(5, 60), rng.uniform(-0.4, 0.7)
    if stomach is not None:
        section.paint(stomach, patient.hu("bowel") + 15)
        section.paint(inset(stomach, 0.35 * g), fluid)
        above = section.share(inset(stomach, 0.4 * g))
        level = stomach.centre[0] - bubble * stomach.radii[0] * 0.8
        section.mix(above * (section.place[0] < level), -960.0)
    if z > -3:
        steps = np.linspace(-1, 1, 36)
        line = np.stack([y0 + 0.02 * down + 1.4 * g * steps**2 - 1.5 * g * steps, 0.5 * g + 5.5 * g * steps], 1)
        lobes = line + rng.normal(0, 0.35 * g, line.shape)
        section.mix(section.deposit(lobes, rng.uniform(0.2, 0.75, 36) * g**2), patient.hu("pancreas"))


def add_liver(
    rng: np.random.Generator, section: Section, patient: Patient, cavity: Blob, z: float, g: float, gap: float
) -> np.ndarray:
    """The liver's right and left lobe with portal and hepatic veins; returns the share that it covers."""
    down, across = cavity.radii
    y0 = cavity.centre[0]
    lobes = (
        Solid(
            Blob((y0 - 0.02 * down, -0.60 * across), (0.80 * down, 0.42 * across - gap), -0.12, draw_waves(rng, 0.07)),
            -4.0,
            rng.uniform(7, 10),
        ),
        Solid(
            Blob((y0 - 0.48 * down, -0.15 * across), (0.30 * down, 0.52 * across), 0.35, draw_waves(rng, 0.08)),
            -6.0,
            rng.uniform(4, 7.5),
        ),
    )
    inside = section.share(inset(cavity, 0.15 * g))
    share = np.zeros(section.size)
    for lobe in lobes:
        if (blob := lobe.at(z)) is not None:
            share = np.maximum(share, section.share(blob))
    share *= inside
    fatty = 22 * max(rng.standard_normal() - 0.8, 0)
    liver = patient.hu("liver") - fatty
    section.mix(share, liver, STRUCTURES["liver"] if share.max() > 0.5 else None)
    hilum = np.array([y0 + 0.05 * down, -0.28 * across])
    points, areas = [], []
    for _ in range(9):
        angle, reach, first = rng.uniform(0.55 * np.pi, 1.6 * np.pi), rng.uniform(3, 8) * g, rng.uniform(0, 0.4)
        steps = np.linspace(0, 1, 50)
        heading = angle + rng.normal(0, 0.6) * steps
        way = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1), 0) * reach / 50
        seen = (steps > first) & (steps < first + rng.uniform(0.1, 0.5))
        points.append((hilum + way)[seen])
        areas.append((2 * rng.uniform(0.15, 0.42) * g * (1 - 0.7 * steps) * reach / 50)[seen])
    points.append(np.array([y0 - 0.1 * down, -0.6 * across]) + rng.normal(0, 2.4 * g, (30, 2)))
    areas.append(np.pi * (rng.uniform(0.06, 0.3, 30) * g) ** 2)
    vessels = section.deposit(np.concatenate(points), np.concatenate(areas))
    section.mix(0.85 * share * vessels, patient.hu("portal"))
    if z > -1.5:
        bladder = Blob((y0 - 0.30 * down, -0.42 * across), (1.7 * g, 1.2 * g), 0.3, draw_waves(rng, 0.06))
        section.paint(inset(bladder, -0.12 * g), patient.hu("bowel"))
        section.paint(bladder, 8.0)
        share = share * (1 - section.share(bladder))
    return share


def add_kidneys(
    rng: np.random.Generator, section: Section, patient: Patient, spine: tuple[float, float], z: float, g: float
) -> list[Blob]:
    """Both kidneys in their fat: cortex, medulla and sinus; returns their outlines in the plane, where they are."""
    found = []
    for side in (-1, 1):
        wide = rng.uniform(0.9, 1.1)
        at = (spine[0] + 0.2 * g + 0.3 * g * rng.standard_normal(), side * (6.4 + 0.4 * rng.standard_normal()) * g)
        outline = Blob(at, (3.0 * g * wide, 2.5 * g * wide), side * 0.5, draw_waves(rng, 0.05))
        kidney = Solid(outline, 0.8 if side < 0 else -0.4, 5.6).at(z)
        if kidney is None:
            continue
        section.paint(inset(kidney, -0.7 * g), FAT - 5, edge=0.2)
        section.paint(kidney, patient.hu("cortex"), STRUCTURES["kidneys"])
        for turn in np.linspace(-2.2, 2.2, 7):
            angle = turn + (np.pi if side < 0 else 0.0)
            pyramid = (
                kidney.centre[0] + 0.55 * kidney.radii[0] * np.sin(angle),
                kidney.centre[1] + 0.55 * kidney.radii[1] * np.cos(angle),
            )
            section.paint(Blob(pyramid, (0.55 * g, 0.55 * g)), patient.hu("medulla"), edge=0.15)
        if abs(z) < 2.6:
            sinus = Blob(
                (kidney.centre[0], kidney.centre[1] - side * 0.75 * g),
                (0.85 * g, 1.6 * g),
                side * 0.3,
                draw_waves(rng, 0.15),
            )
            section.paint(sinus, FAT + 15, edge=0.1)
            points = np.array(sinus.centre) + rng.normal(0, (0.35 * g, 0.8 * g), (9, 2))
            section.mix(section.deposit(points, rng.uniform(0.05, 0.3, 9) * g**2), 0.5 * patient.hu("vein") + 10)
        found.append(kidney)
    return found


def add_bowel(rng: np.random.Generator, section: Section, patient: Patient, cavity: Blob, g: float, z: float) -> None:
    """Loops of small bowel, colon with faeces and gas, and mesenteric vessels."""
    down, across = cavity.radii
    y0 = cavity.centre[0]
    wall = patient.hu("bowel")
    points = np.array([y0 - 0.25 * down, 0.1 * across]) + rng.normal(0, 1, (90, 2)) * (0.28 * down, 0.4 * across)
    section.mix(section.deposit(points, np.pi * (rng.uniform(0.05, 0.2, 90) * g) ** 2), patient.hu("vein"))
    count = 9 + 2 * round(max(z, 0) * 2)
    for _ in range(count):
        angle, out = rng.uniform(-np.pi, 0.15), rng.uniform(0.35, 0.86) ** 0.7
        at = (y0 + 0.12 * down + 0.85 * out * down * np.sin(angle), 0.05 * across + 0.8 * out * across * np.cos(angle))
        size = rng.uniform(0.9, 1.5) * g
        loop = Blob(at, (size, size * rng.uniform(1, 2.2)), rng.uniform(0, np.pi), draw_waves(rng, 0.12))
        section.paint(loop, wall)
        content = rng.choice(3, p=(0.35, 0.5, 0.15))
        if content:
            section.paint(inset(loop, 0.3 * g), 18.0 if content == 1 else -700.0, edge=0.1)
    for side, low in ((-1, 0.25), (1, 0.15), (0, -0.72)):
        size = rng.uniform(1.5, 2.6) * g
        at = (y0 + low * down + 0.1 * down * rng.standard_normal(), side * 0.70 * across + 0.05 * across * rng.normal())
        colon = Blob(at, (size, size * rng.uniform(0.9, 1.5)), rng.uniform(0, np.pi), draw_waves(rng, 0.12))
        section.paint(colon, wall)
        lumen = inset(colon, 0.25 * g)
        gas = rng.uniform(-0.6, 1.0)
        section.paint(lumen, 25.0)
        crumbs = np.array(at) + rng.normal(0, 0.5 * size, (40, 2))
        share = section.share(lumen)
        section.mix(0.8 * share * section.deposit(crumbs, rng.uniform(0.01, 0.12, 40) * g**2), -500.0)
        section.mix(share * (section.place[0] < at[0] - size + gas * size), -960.0)


def add_liver_lesion(
    rng: np.random.Generator, section: Section, patient: Patient, liver: np.ndarray, g: float, severity: float
) -> np.ndarray:
    """A metastasis: darker than liver, with a rim that takes up contrast in the arterial phase; larger, more severe."""
    radius = (0.7 + 2.6 * severity * rng.uniform(0.9, 1.1)) * g
    pick, waves, tall = rng.uniform(), draw_waves(rng, 0.16), rng.uniform(0.8, 1.2)
    y, x = section.place
    # By thirds of the liver's area from right to left, at its middle row there: the same place at any size.
    weight = liver.sum(0)
    column = int(np.searchsorted(np.cumsum(weight), (0.2 + 0.5 * pick) * weight.sum()))
    row = int(np.searchsorted(np.cumsum(liver[:, column]), (0.35 + 0.3 * rng.uniform()) * liver[:, column].sum()))
    blob = Blob((float(y[row, column]), float(x[row, column])), (radius * tall, radius), 0.0, waves)
    share = section.share(blob, 0.25 * radius) * liver
    if patient.phase == 1:
        section.mix(share, patient.hu("liver") + 45 * (0.4 + 0.6 * severity))
        section.mix(section.share(inset(blob, 0.3 * radius), 0.3 * radius) * liver, patient.hu("liver") - 30)
    else:
        section.mix(share, patient.hu("liver") - 18 - 32 * severity)
    return share


def add_cyst(rng: np.random.Generator, section: Section, kidneys: list[Blob], g: float, severity: float) -> np.ndarray:
    """A ball of water that bulges from a kidney; larger when more severe."""
    kidney = kidneys[int(rng.integers(len(kidneys)))]
    radius = (0.6 + 2.6 * severity * rng.uniform(0.9, 1.1)) * g
    side = np.sign(kidney.centre[1])
    angle = rng.uniform(-1.2, 1.0)
    y = kidney.centre[0] + kidney.radii[0] * 0.8 * np.sin(angle)
    x = kidney.centre[1] + side * kidney.radii[1] * 0.8 * np.cos(angle)
    blob = Blob((y, x), (radius, radius), 0.0, draw_waves(rng, 0.03))
    share = section.share(blob)
    section.mix(section.share(inset(blob, -0.08)), 30.0)
    section.mix(share, 6.0)
    return share


def add_stone(rng: np.random.Generator, section: Section, kidneys: list[Blob], g: float, severity: float) -> np.ndarray:
    """A stone in a kidney's sinus: larger and denser when more severe."""
    kidney = kidneys[int(rng.integers(len(kidneys)))]
    radius = (0.25 + 0.85 * severity) * g
    side = np.sign(kidney.centre[1])
    y = kidney.centre[0] + 0.8 * g * rng.uniform(-1, 1)
    x = kidney.centre[1] - side * 0.3 * g * rng.uniform(-1, 1.5)
    share = section.share(Blob((y, x), (radius * rng.uniform(0.8, 1.3), radius), 0.4, draw_waves(rng, 0.2)))
    section.mix(share, 350 + 600 * severity)
    return share
