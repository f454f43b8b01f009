"""What diseases leave on the retina, each lesion with its own threshold: a worse disease keeps those of a milder one.

Places are in mm in the frame of `retina`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from medsynth.phantoms.retina import Eye, Grid, disc_radius, soft

GRADES = 4  # of diabetic retinopathy, each a quarter of the severity (Wilkinson et al. 2003, Ophthalmology 110:1677)
MILD, MODERATE, SEVERE = (grade / GRADES for grade in (1, 2, 3))  # severities at which a grade ends
LAYERS = ("drusen", "exudate", "atrophy", "pigment", "scar", "wool")


@dataclass
class Lesions:
    """Lesions as the layers that hold them, (H, W) each.

    Attributes:
        blood: outside of vessels, in mm along the ray.
        layers: name → cover from 0 to 1.
        main: cover of the largest one; all zero where there is none.
    """

    blood: np.ndarray
    main: np.ndarray
    layers: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def dark(self) -> np.ndarray:
        """Cover of what is darker than the ground."""
        return np.maximum((self.blood / 0.04).clip(0, 1), self.layers["pigment"])

    @property
    def bright(self) -> np.ndarray:
        """Cover of what is brighter."""
        names = ("drusen", "exudate", "wool", "atrophy", "scar")
        return np.maximum.reduce([self.layers[name] for name in names])


def nothing(shape: tuple[int, int]) -> Lesions:
    blank = np.zeros(shape, np.float32)
    return Lesions(blank.copy(), blank.copy(), {name: blank.copy() for name in LAYERS})


def stamp(
    layer: np.ndarray,
    grid: Grid,
    place: np.ndarray,
    radius: float,
    *,
    height: float = 1.0,
    edge: float = 0.03,
    wave: np.ndarray | None = None,
    long: float = 1.0,
    turn: float = 0.0,
    flat_top: bool = False,
) -> None:
    """Raise `layer` to a blob of a height where it is lower.

    Args:
        wave: phases of the outline's waves.
        long: ratio of its axes; the longer one is turned from x to y by `turn` radians.
        flat_top: blood before the retina that has settled: level above, round below.
    """
    if radius <= 0:
        return
    edge = max(edge, 0.6 * grid.pixel)
    rows, columns = grid.window(place[0], place[1], 1.35 * radius * long + 2 * edge)
    dx, dy = grid.x[columns] - place[0], grid.y[rows] - place[1]
    if not dx.size or not dy.size:
        return
    c, s = np.cos(turn), np.sin(turn)
    u, v = (c * dx + s * dy) / long, c * dy - s * dx
    reach: np.ndarray | float = radius
    if wave is not None:
        angle = np.arctan2(v, u)
        reach = radius * (1 + sum(0.16 / k * np.cos((k + 1) * angle + phase) for k, phase in enumerate(wave, start=1)))
    distance = np.hypot(u, v) - reach
    if flat_top:
        distance = np.maximum(distance, -dy - 0.25 * radius)
    # A blob of less than a pixel covers a share of it.
    small = min(1.0, (radius / (0.5 * grid.pixel)) ** 2)
    part = layer[rows, columns]
    np.maximum(part, np.float32(height * small) * soft(distance, edge).astype(np.float32), out=part)


def clear_of_disc(eye: Eye, place: np.ndarray, margin: float) -> np.ndarray:
    """Places (n, 2) moved away from the disc's centre to at least `margin` mm beyond its edge."""
    offset = place - np.array(eye.disc)
    away = np.linalg.norm(offset, axis=1, keepdims=True) + 1e-6
    return np.array(eye.disc) + offset * np.maximum(away, max(eye.disc_radii) + margin) / away


def along_fibres(eye: Eye, place: np.ndarray) -> np.ndarray:
    """The direction (n,) in radians of the nerve fibres, from the disc and bent as the arcades."""
    dx, dy = (place - np.array(eye.disc)).T
    return np.arctan2(dy, dx - 0.25 * np.abs(dy))


def scatter(rng: np.random.Generator, count: int, near: float, far: float, middle: tuple[float, float]) -> np.ndarray:
    """Places (count, 2) spread evenly over a ring."""
    radius = np.sqrt(rng.uniform(near**2, far**2, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.array(middle) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def diabetic_retinopathy(rng: np.random.Generator, eye: Eye, grid: Grid, severity: float, extent: float) -> Lesions:
    """Microaneurysms, then blots, flames and exudates, then cotton wool, and blood before the retina at the last grade.

    Args:
        extent: radius in mm of the part of the retina that is seen.
    """
    main, dots, blots, flames, clusters, wool, scars = rng.spawn(7)
    lesions = nothing(grid.shape)
    blood = lesions.blood
    middle = (1.2, 0.0)

    def present(count: int, after: float, full: float = 1.0) -> int:
        return int(np.ceil(count * np.clip((severity - after) / (full - after), 0, 1)))

    places = clear_of_disc(eye, scatter(dots, 70, 0.5, 0.9 * extent, middle), 0.1)
    for place, radius in zip(places[: present(70, 0.0)], dots.uniform(0.03, 0.065, 70), strict=False):
        stamp(blood, grid, place, radius, height=0.09, edge=0.02)
    places = clear_of_disc(eye, scatter(blots, 60, 0.7, 0.95 * extent, middle), 0.15)
    for place, radius, phases in zip(
        places[: present(60, MILD)],
        blots.gamma(2.0, 0.045, 60).clip(0.05, 0.32),
        blots.uniform(0, 6.3, (60, 3)),
        strict=False,
    ):
        stamp(blood, grid, place, radius, height=0.08, edge=0.06, wave=phases)
    places = clear_of_disc(eye, scatter(flames, 22, 1.2, 0.8 * extent, (3.0, 0.0)), 0.2)
    for place, turn, size in zip(
        places[: present(22, MILD)], along_fibres(eye, places), flames.uniform(0.5, 1.3, 22), strict=False
    ):
        for shift in ((-0.05, 0.02), (0.06, 0.07), (0.0, -0.06)):
            moved = place + size * np.array(shift)
            stamp(blood, grid, moved, 0.055 * size, height=0.06, edge=0.04, long=5.0, turn=turn)
    for centre in scatter(clusters, 5, 0.7, 3.2, (-0.3, 0.0))[: present(5, MILD, 0.85)]:
        ring = clusters.uniform(0.25, 0.8)
        spots = centre + scatter(clusters, 26, 0.3 * ring, ring, (0.0, 0.0))
        spots = clear_of_disc(eye, spots, 0.1)
        for place, radius in zip(spots, clusters.gamma(1.6, 0.028, 26).clip(0.02, 0.13), strict=True):
            stamp(lesions.layers["exudate"], grid, place, radius, height=0.75, edge=0.03)
    places = clear_of_disc(eye, scatter(wool, 8, 1.0, 4.0, (3.2, 0.0)), 0.25)
    for place, turn, radius, phases in zip(
        places[: present(8, 0.35)],
        along_fibres(eye, places) + 1.2,
        wool.uniform(0.13, 0.28, 8),
        wool.uniform(0, 6.3, (8, 3)),
        strict=False,
    ):
        stamp(lesions.layers["wool"], grid, place, radius, height=0.5, edge=0.16, wave=phases, long=1.4, turn=turn)
    if severity > SEVERE and scars.uniform() < 0.35:  # of the laser that has treated it
        for place, radius in zip(
            scatter(scars, 90, 4.6, 1.05 * extent, middle), scars.uniform(0.16, 0.26, 90), strict=True
        ):
            if abs(place[0] - eye.disc[0]) > 1.6 or abs(place[1] - eye.disc[1]) > 1.6:
                stamp(lesions.layers["scar"], grid, place, radius, height=0.45, edge=0.08)
                stamp(lesions.layers["pigment"], grid, place, 0.5 * radius, height=0.6, edge=0.08)

    place = clear_of_disc(eye, scatter(main, 1, 1.3, min(3.4, 0.6 * extent), (0.6, 0.0)), 0.6)[0]
    radius = (0.08 + 0.75 * severity**1.7) * np.exp(0.22 * main.uniform(-1, 1))
    phases = main.uniform(0, 6.3, 3)
    late = severity > SEVERE
    edge, long, wave = (0.04, 1.25, None) if late else (0.05, 1.0, phases)
    for layer, height in ((lesions.main, 1.0), (blood, 0.10 + 0.06 * severity)):
        if severity > 0:
            stamp(layer, grid, place, radius, height=height, edge=edge, wave=wave, long=long, flat_top=late)
    return lesions


def amd(rng: np.random.Generator, eye: Eye, grid: Grid, severity: float, extent: float) -> Lesions:
    """Drusen that grow and run together about the macula, then a bare patch (dry) or blood below the retina (wet)."""
    main, hard, large, grains = rng.spawn(4)
    lesions = nothing(grid.shape)
    drusen = lesions.layers["drusen"]
    spread = np.array([1.15, 1.05])
    places = clear_of_disc(eye, hard.standard_normal((130, 2)) * spread, 0.2)
    count = int(np.ceil(130 * (0.12 + 0.88 * severity) * (severity > 0)))
    for place, radius in zip(places[:count], hard.gamma(3.0, 0.013, 130).clip(0.02, 0.1), strict=False):
        stamp(drusen, grid, place, radius, height=0.6, edge=0.04)
    places = clear_of_disc(eye, large.standard_normal((60, 2)) * spread * 0.8, 0.2)
    count = int(np.ceil(60 * np.clip((severity - 0.2) / 0.6, 0, 1)))
    for place, radius, phases in zip(
        places[:count],
        large.uniform(0.06, 0.16, 60) * (0.7 + 0.6 * severity),
        large.uniform(0, 6.3, (60, 3)),
        strict=False,
    ):
        stamp(drusen, grid, place, radius, height=0.5, edge=0.09, wave=phases)
    places = grains.standard_normal((24, 2)) * 0.9
    count = int(np.ceil(24 * np.clip((severity - 0.4) / 0.6, 0, 1)))
    for place, radius, phases in zip(
        places[:count], grains.uniform(0.03, 0.1, 24), grains.uniform(0, 6.3, (24, 3)), strict=False
    ):
        stamp(lesions.layers["pigment"], grid, place, radius, height=0.65, edge=0.04, wave=phases)

    place = main.standard_normal(2) * np.array([0.55, 0.45])
    radius = (0.13 + 1.05 * severity**1.5) * np.exp(0.2 * main.uniform(-1, 1))
    phases, wet = main.uniform(0, 6.3, 3), main.uniform() < 0.4
    if severity <= 0:
        return lesions
    stamp(lesions.main, grid, place, radius, edge=0.05, wave=phases)
    stamp(drusen, grid, place, radius, height=0.55, edge=0.12, wave=phases)
    if wet and severity > 0.5:
        strength = min(1.0, (severity - 0.5) / 0.2)
        stamp(lesions.blood, grid, place, radius, height=0.09 * strength, edge=0.10, wave=phases)
        inner = place + radius * np.array([0.15, 0.1])
        core = np.zeros_like(lesions.blood)
        stamp(core, grid, inner, 0.45 * radius, height=0.9, edge=0.2 * radius, wave=phases[::-1])
        lesions.blood *= 1 - core  # the membrane that bleeds is grey, not red
        for spot, size in zip(
            place + scatter(main, 20, 0.9 * radius, 1.35 * radius, (0.0, 0.0)),
            main.uniform(0.03, 0.09, 20),
            strict=True,
        ):
            stamp(lesions.layers["exudate"], grid, spot, size, height=0.85, edge=0.02)
    elif severity > 0.4:
        stamp(
            lesions.layers["atrophy"], grid, place, 0.97 * radius,
            height=min(1.0, (severity - 0.4) / 0.25), edge=0.04, wave=phases,
        )  # fmt: skip
    return lesions


def fibre_loss(rng: np.random.Generator, eye: Eye, grid: Grid, severity: float) -> np.ndarray:
    """Share of the nerve fibres lost to glaucoma, (H, W): all thinner, and a wedge above or below most of all."""
    up = -1 if rng.uniform() < 0.5 else 1
    middle, breadth = np.pi - up * rng.uniform(0.9, 1.3), rng.uniform(0.12, 0.3)
    dx, dy = grid.x - eye.disc[0], grid.y - eye.disc[1]
    angle = np.mod(np.arctan2(dy, dx + 0.10 * dy * dy), 2 * np.pi)
    wedge = soft(np.abs(angle - middle) - breadth, 0.08) * (disc_radius(eye, grid) > 1)
    return (severity * (0.55 + 0.45 * wedge)).astype(np.float32)


DISEASES = {"diabetic_retinopathy": diabetic_retinopathy, "amd": amd}
