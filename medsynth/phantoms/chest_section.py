"""The chest in CT: lungs with their vessels, mediastinum and heart; nodules and effusion."""

from __future__ import annotations

import numpy as np

from medsynth.phantoms.ct_body import FAT, GAS, STRUCTURES, Patient, add_back_muscles, add_ribs, add_spine, add_wall
from medsynth.phantoms.section import Section, Solid, inset
from medsynth.phantoms.shapes import Blob, cover, draw_waves


def build(
    rng: np.random.Generator,
    lesion: np.random.Generator,
    section: Section,
    patient: Patient,
    pathology: str,
    severity: float,
) -> np.ndarray | None:
    """Paint a chest; returns the share (height, width) of each pixel that the lesion covers, or None.

    The plane lies between the aortic arch (z = -6 cm) and the lower heart (z = 6 cm).
    """
    z = rng.uniform(-6, 6)
    g = patient.outline.radii[1] / 17
    muscles = add_wall(rng, section, patient)
    add_chest_wall(rng, section, patient, muscles)
    down = muscles.radii[0]
    rim = inset(muscles, 1.55 * g)
    spine = (muscles.centre[0] + 0.40 * down, 0.0)
    section.paint(rim, 30.0)
    lungs = [lung_outline(rng, rim, side, g) for side in (-1, 1)]
    air = -870 + 60 * rng.standard_normal() * 0.5
    weight = 90 * section.place[0] / down  # what lies lower holds more blood
    shares = [section.share(lung) for lung in lungs]
    texture = add_vessels(rng, section, patient, lungs, g)
    section.mix(section.share(inset(rim, 0.25 * g)), FAT + 20)
    for share in shares:
        section.mix(share, air + weight, STRUCTURES["lungs"])
        section.mix(share * texture, patient.hu("lung_artery"))
    add_mediastinum(rng, section, patient, z, g, spine)
    add_spine(rng, section, patient, spine)
    add_back_muscles(rng, section, patient, spine)
    start = np.pi * rng.uniform(0, 0.12)
    add_ribs(rng, section, patient, inset(muscles, 1.0 * g), start + np.arange(14) * np.pi / 7, 1.7)
    sternum = Blob((muscles.centre[0] - down + 0.9 * g, 0.0), (0.6 * g, 1.6 * g))
    section.paint(sternum, 330 * patient.mineral, STRUCTURES["bone"])
    section.paint(inset(sternum, 0.18 * g), 130 * patient.mineral)
    if pathology == "nodule":
        return add_nodule(lesion, section, lungs, shares, g, severity)
    if pathology == "effusion":
        return add_effusion(lesion, section, lungs, shares, severity)
    return None


def lung_outline(rng: np.random.Generator, rim: Blob, side: int, g: float) -> Blob:
    down, across = rim.radii
    middle = (rim.centre[0] + 0.06 * down, side * 0.53 * across)
    height = (0.93 + 0.02 * rng.standard_normal()) * down
    return Blob(middle, (height, 0.455 * across), side * 0.06, ((2, 0.03, 0.0), *draw_waves(rng, 0.02, (3, 4))))


def add_chest_wall(rng: np.random.Generator, section: Section, patient: Patient, muscles: Blob) -> None:
    """Breasts, pectoral muscles, fat planes of the shoulder and the shoulder blades."""
    down, across = muscles.radii
    g = patient.outline.radii[1] / 17
    grown = float(np.clip((patient.age - 11) / 6, 0, 1))
    for side in (-1, 1):
        if not patient.male:
            size = grown * rng.uniform(0.4, 1.2) * (0.7 + 0.3 * patient.fat) * g
            high = muscles.centre[0] - 0.82 * down
            breast = Blob((high, side * 0.55 * across), (1.9 * size + 0.8, 5.6 * g + size), -side * 0.30)
            section.paint(breast, 10.0)
            section.paint(inset(breast, 0.17), FAT)
            points = np.array(breast.centre) + rng.normal(0, (0.45 * size + 0.1, 1.7 * g), (60, 2))
            section.mix(section.deposit(points, rng.uniform(0.03, 0.25, 60) * size), 25.0)
        fat = Blob((muscles.centre[0] - 0.55 * down, side * 0.70 * across), (0.55 * g, 3.2 * g), -side * 0.75)
        section.paint(fat, FAT, edge=0.2)
        back = (muscles.centre[0] + 0.50 * down, side * 0.80 * across)
        section.paint(Blob(back, (0.45 * g, 4.2 * g), side * 0.9), FAT, edge=0.2)
        blade = Blob((back[0], back[1] + side * 0.25 * g), (0.33 * g, 2.9 * g), side * (0.9 + 0.1 * rng.normal()))
        section.paint(blade, 420 * patient.mineral, STRUCTURES["bone"])


def add_vessels(
    rng: np.random.Generator, section: Section, patient: Patient, lungs: list[Blob], g: float
) -> np.ndarray:
    """Share of each pixel that pulmonary vessels cover: branches from the hila and cross-sections, thinner outwards."""
    points, areas = [], []
    for lung, side in zip(lungs, (-1, 1), strict=True):
        hilum = np.array([lung.centre[0] - 0.02 * lung.radii[0], side * 4.2 * g])
        for _ in range(16):
            angle, bend = rng.uniform(-1.45, 1.45), rng.normal(0, 0.5)
            steps = np.linspace(0, 1, 70)
            reach = rng.uniform(4, 10) * g
            heading = angle + bend * steps
            way = np.cumsum(np.stack([np.sin(heading), side * np.cos(heading)], 1), 0) * reach / 70
            wide = rng.uniform(0.15, 0.42) * g * (1 - 0.85 * steps)
            first = rng.uniform(0, 0.35)  # a vessel lies in the plane for a part of its way
            seen = (steps > first) & (steps < first + rng.uniform(0.15, 0.7))
            points.append((hilum + way)[seen])
            areas.append((2 * wide * reach / 70)[seen])
        dots = np.array(lung.centre) + rng.normal(0, 1, (150, 2)) * np.array(lung.radii) * 0.48
        far = np.linalg.norm(dots - hilum, axis=1) / (9 * g)
        points.append(dots)
        areas.append(np.pi * (0.24 * g * rng.uniform(0.25, 1, 150) * np.exp(-1.1 * far)) ** 2)
    return section.deposit(np.concatenate(points), np.concatenate(areas))


def add_mediastinum(
    rng: np.random.Generator, section: Section, patient: Patient, z: float, g: float, spine: tuple[float, float]
) -> None:
    """Heart, great vessels, airway and gullet in mediastinal fat, as they lie at the level z."""
    artery, vein, lung_artery = (patient.hu(name) for name in ("artery", "vein", "lung_artery"))
    front = spine[0] - 9.5 * g
    heart_number = STRUCTURES["heart"]
    fat = FAT + 12
    swell = 1 + 0.15 * rng.standard_normal() + 0.002 * patient.age
    section.paint(Blob((spine[0] - 0.3 * g, 0.0), (2.3 * g, 3.0 * g)), fat)
    section.paint(Blob((spine[0] - 5.5 * g, 0.3 * g), (5.8 * g, 3.2 * g), 0.0, draw_waves(rng, 0.08)), fat)
    section.paint(Blob((front + 0.3 * g, 0.0), (2.2 * g, 3.2 * g), 0.0, draw_waves(rng, 0.1)), fat)
    apex = 0.4 + 0.08 * rng.standard_normal()

    def solid(y: float, x: float, middle: float, radii: tuple[float, float, float], turn: float = 0.0) -> Blob | None:
        size = swell * g
        blob = Blob((front + y * g, x * g), (radii[0] * size, radii[1] * size), turn, draw_waves(rng, 0.04))
        return Solid(blob, middle, radii[2]).at(z)

    whole = solid(4.3, 2.2, 4.5, (4.6, 6.6, 6.8), -apex)
    if whole is not None:
        section.paint(inset(whole, -0.35 * g), fat)  # the fat around the heart
        section.paint(whole, patient.hu("myocardium"), heart_number)
        right = artery * 0.45 + vein * 0.55 if patient.phase == 1 else vein
        for place, radii, blood in (
            ((3.0, 0.2), (2.3, 3.0, 4.5), right),
            ((4.4, -2.5), (2.4, 1.7, 4.0), right),
            ((5.0, 4.2), (1.9, 3.2, 4.2), artery),
            ((7.4, 0.6), (1.6, 3.0, 3.0), artery),
        ):
            section.paint(solid(*place, 3.5, radii, -apex), blood, heart_number, edge=0.15)
    if z < 1.5:
        section.paint(Blob((front + 2.6 * g, -0.9 * g), (1.65 * g, 1.65 * g)), artery, edge=0.1)  # ascending aorta
        section.paint(
            Blob((front + 3.3 * g, -3.1 * g), (0.95 * g, 0.85 * g)), vein * (2.2 if patient.phase == 1 else 1)
        )
    if -4.5 < z < 0.5:  # the trunk and the right branch of the pulmonary artery
        section.paint(Blob((front + 2.2 * g, 2.2 * g), (1.5 * g, 1.5 * g)), lung_artery)
        section.paint(Blob((front + 4.4 * g, 0.4 * g), (0.8 * g, 3.6 * g), 0.25), lung_artery)
        section.paint(Blob((front + 4.4 * g, 4.0 * g), (1.1 * g, 1.6 * g), 0.5), lung_artery)
    if z < -4.5:  # the arch
        section.paint(Blob((front + 4.3 * g, 1.1 * g), (1.25 * g, 4.4 * g), -1.0, draw_waves(rng, 0.04)), artery)
    sunk = (spine[0] - 1.1 * g, 2.3 * g)
    section.paint(Blob(sunk, (1.25 * swell * g, 1.25 * swell * g)), artery)
    if patient.age > 50:  # chalk in the wall
        rate = (patient.age - 50) / 45
        angle = rng.uniform(0, 2 * np.pi, 12)
        ring = np.array(sunk) + 1.2 * swell * g * np.stack([np.sin(angle), np.cos(angle)], 1)
        section.mix(section.deposit(ring, rate * rng.uniform(0, 0.06, 12)), 700.0)
    section.paint(Blob((spine[0] - 2.2 * g, 0.6 * g), (0.6 * g, 0.9 * g)), 35.0)
    section.paint(Blob((spine[0] - 2.2 * g, 0.6 * g), (0.15 * g, 0.3 * g)), -400.0)
    airways = [((-3.6, -0.2), (0.95, 0.95))] if z < -3 else [((-3.7, -2.6), (0.6, 0.85)), ((-3.7, 2.7), (0.55, 0.8))]
    for (y, x), (tall, wide) in airways:
        pipe = Blob((spine[0] + y * g, x * g), (tall * g, wide * g))
        section.paint(inset(pipe, -0.15 * g), 20.0)
        section.paint(pipe, GAS)
    nodes = np.array([spine[0] - 4.5 * g, 0.0]) + rng.normal(0, 1.6 * g, (10, 2))
    section.mix(
        section.deposit(nodes, rng.uniform(0.02, 0.25, 10) * g**2) * (section.values < 0) * (section.values > -200),
        45.0,
    )


def add_nodule(
    rng: np.random.Generator,
    section: Section,
    lungs: list[Blob],
    shares: list[np.ndarray],
    g: float,
    severity: float,
) -> np.ndarray:
    """A growth in a lung: larger, denser and more spiculated when more severe."""
    side = int(rng.integers(2))
    lung = lungs[side]
    radius = (0.5 + 1.9 * severity * rng.uniform(0.85, 1.15)) * g
    angle, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.05, 0.55))
    # The outer half of a lung is free of the heart.
    y = lung.centre[0] + lung.radii[0] * 0.85 * out * np.sin(angle)
    x = lung.centre[1] + (-1 if side == 0 else 1) * lung.radii[1] * (0.25 + 0.5 * out * abs(np.cos(angle)))
    waves = draw_waves(rng, 0.12) + draw_waves(rng, 1.2 * severity, (9, 13, 17))
    share = section.share(Blob((y, x), (radius * rng.uniform(0.85, 1.15), radius), 0.0, waves), 0.15 * radius)
    share = share * (section.labels == STRUCTURES["lungs"]) * shares[side]
    section.mix(share, -250 + 300 * severity**0.5)
    return share


def add_effusion(
    rng: np.random.Generator, section: Section, lungs: list[Blob], shares: list[np.ndarray], severity: float
) -> np.ndarray:
    """Fluid that sinks to the back of one lung, a crescent that is deeper when more severe, and the lung above it."""
    side = int(rng.integers(2))
    lung = lungs[side]
    y, x = section.place
    surface = lung.centre[0] + lung.radii[0] * (0.95 - 1.15 * severity)
    bow = rng.uniform(0.25, 0.45) * lung.radii[0] * ((x - lung.centre[1]) / lung.radii[1]) ** 2
    lung_now = shares[side] * (section.values < 60) * (section.labels == STRUCTURES["lungs"])
    share = cover(surface - bow - y, section.pixel) * lung_now
    squeezed = cover(surface - bow - 1.3 * severity - y, 0.5) * lung_now
    section.mix(0.8 * squeezed, 30.0)
    section.mix(share, 10.0)
    return share
