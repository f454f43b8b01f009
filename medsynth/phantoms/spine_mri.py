"""The lumbar spine as an MRI volume: vertebrae, discs, cord and roots in their canal, muscles; disc herniation.

Places are in cm: z towards the feet, y to the back, x to the left, from the middle of the third lumbar vertebra. Slices
are axial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsynth.phantoms.bodies import Body, curve, draw_bumps, ellipsoid, loft, tube
from medsynth.phantoms.column import Column
from medsynth.phantoms.mri import Scan, draw_scan, signal, signals
from medsynth.phantoms.mri_scan import receive, scanned
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.trunk import part_streams
from medsynth.phantoms.volume import Volume, finish

PATHOLOGIES = ("normal", "disc_herniation")
SEQUENCES = ("t1", "t2")
CONDITIONS = scanned(PATHOLOGIES, SEQUENCES, 8.0)
ORGANS = ("vertebrae", "discs", "canal", "cord", "muscle", "fat", "vessels", "lesion")
STRUCTURES = {name: number for number, name in enumerate(ORGANS, start=1)}
FIELD_CM = (26.0, 20.0, 20.0)
DISCS = (1, 2, 3)  # from the third lumbar disc downwards: those that herniate
SACRUM = 4  # the first disc that is fused

# T1 in ms at 1.5 T and at 3 T, T2 in ms, proton density. Cord, muscle and kidney: Stanisz et al. 2005 (MRM 54:507); T1
# of marrow and fat of de Bazelaire et al. 2004 (Radiology 230:652); their T2 is longer, as trains of echoes make it
# (Henkelman et al. 1992, JMRI 2:533). The discs' and the ligaments' are typical values.
SPINE: dict[str, tuple[float, float, float, float]] = {
    "marrow": (549, 586, 85, 0.75),
    "cord": (745, 993, 76, 0.78),
    "muscle": (1008, 1412, 47, 0.90),
    "fat": (343, 382, 130, 1.0),
    "annulus": (850, 1000, 35, 0.55),
    "nucleus": (1150, 1350, 115, 0.90),
    "dried": (950, 1100, 48, 0.65),
    "ligament": (900, 1100, 12, 0.30),
    "kidney": (690, 1194, 56, 0.90),
}


@dataclass(frozen=True)
class Back:
    """One patient.

    Attributes:
        column: the vertebrae.
        dried: of each disc from the first, 0 to 1.
        grown: size, as a share of a middling man's.
        fat: under the skin in cm.
        fatty: share of fat in the muscles.
    """

    column: Column
    dried: np.ndarray
    grown: float
    fat: float
    fatty: float


def draw_back(rng: np.random.Generator, age: float, female: bool) -> Back:
    size, lordosis, lean, fat = rng.standard_normal(4)
    grown = float((0.93 if female else 1.0) * (1 + 0.04 * size))
    knots = np.linspace(-18, 18, 61)
    bend = np.interp(
        knots, (-18, -12, -6, 0, 4, 7, 9.5, 12, 14, 18), (0.6, 0.3, -0.3, -0.9, -0.9, -0.2, 1.0, 3.0, 4.3, 6.2)
    )
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 2.0) ** 2)
    bend = np.convolve(np.pad(bend, 4, mode="edge"), kernel / kernel.sum(), mode="valid")
    small = np.interp(knots, (-18, 0, 8, 13, 18), (0.88, 1.0, 1.04, 0.75, 0.5))
    column = Column(
        knots * grown,
        bend * grown * (1 + 0.2 * lordosis),
        1.75 * small * grown,
        2.35 * small * grown,
        3.65 * grown,
        start=-1.82 * grown,
        disc=0.27,
        slant=0.05,
        spinous=2.8 * grown,
        lean=0.25 * lean * np.sin(knots / 9),
    )
    worn = np.clip((age - 25) / 65, 0, 1) + 0.22 * rng.standard_normal(12) + 0.06 * (np.arange(12) - 6)
    return Back(
        column,
        np.clip(worn, 0, 1),
        grown,
        float(np.clip(1.8 + 0.8 * fat + 0.4 * female, 0.5, 4.0)),
        float(np.clip(0.05 + 0.006 * max(age - 30, 0) + 0.05 * rng.standard_normal(), 0, 0.6)),
    )


def tissue_signals(scan: Scan) -> dict[str, float]:
    at = int(scan.tesla > 2)
    return signals(scan) | {name: signal(scan, row[at], row[2], row[3]) for name, row in SPINE.items()}


def paint_body(rng: np.random.Generator, volume: Volume, back: Back, of: Mapping[str, float]) -> None:
    """Skin, fat, muscles, kidneys, great vessels and bowel around the column."""
    column, g = back.column, back.grown
    knots = column.knots
    muscle, fat = STRUCTURES["muscle"], STRUCTURES["fat"]
    rear = 7.6 * g
    body = loft([-30.0, 30.0], rear - 11.5 * g, 0.0, 11.5 * g + back.fat, 16.0 * g + back.fat, 2.3)
    volume.paint(body, of["muscle"])
    volume.paint(body.grown(-0.2), of["fat"], fat)
    wall = loft([-30.0, 30.0], rear - 11.5 * g, 0.0, 11.5 * g, 16.0 * g, 2.3)
    volume.paint(wall, of["muscle"], muscle)
    front = loft([-30.0, 30.0], -8.0 * g, 0.0, 9.6 * g, 13.5 * g, 2.6)
    volume.paint(front, of["fat"], fat)
    streaks = np.clip(volume.texture(rng, 26) - 1.2 + 3 * back.fatty, 0, 1)
    meat = of["muscle"] + (of["fat"] - of["muscle"]) * np.clip(back.fatty * 0.5 + 0.8 * streaks * back.fatty, 0, 1)
    for side in (-1, 1):
        erector = loft(knots, column.middle + 4.7 * g, side * 3.2 * g, 2.1 * g, 2.8 * g, 2.3)
        multifid = loft(knots, column.middle + 4.4 * g, side * 1.3 * g, 1.9 * g, 1.0 * g, 2.3)
        volume.paint(erector.grown(0.05), 0.5 * (of["fat"] + of["muscle"]), muscle)
        volume.paint(erector, meat, muscle)
        volume.paint(multifid, meat, muscle)
        heights = np.linspace(-7, 14, 9) * g
        grown = np.linspace(0, 1, 9)
        y = column.at(heights, column.middle) + 0.6 - 2.2 * grown**2
        psoas = np.stack([heights, y, side * g * (2.6 + 2.6 * grown)], 1)
        volume.paint(tube(psoas, g * (0.7 + 1.8 * np.sin(np.pi * (0.05 + 0.6 * grown)))), of["muscle"], muscle)
        square = loft(np.array([-7, 10]) * g, 1.8 * g, side * 6.2 * g, 1.0 * g, 2.0 * g)
        volume.paint(square, of["muscle"], muscle)
        kidney = ellipsoid(
            np.array([-5.5, -1.0, side * 7.0]) * g, np.array([5.2, 2.4, 2.8]) * g, None, draw_bumps(rng, 0.04)
        )
        volume.paint(kidney, of["kidney"])
        volume.paint(ellipsoid(np.array([-5.5, -1.6, side * 5.6]) * g, np.array([2.6, 0.9, 1.5]) * g), of["fat"])
    for _ in range(16):
        start = np.array([rng.uniform(-12, 12), rng.uniform(-11.0, -5.5), rng.uniform(-9, 9)]) * g
        way = curve([start, *(start + np.cumsum(rng.normal(0, 2.2, (3, 3)), 0) * (1, 0.5, 1))], 10)
        volume.paint(tube(way, 1.3 * g), of["muscle"])
        volume.paint(tube(way, 0.95 * g), 0.6 * of["muscle"] + 0.4 * of["fluid"])
    heights = np.linspace(-18, 5, 12) * g
    face = column.at(heights, column.middle) - column.at(heights, column.half_y)
    for x, wide, ahead in ((0.9, 0.95, 1.15), (-1.9, 1.1, 1.1)):
        vessel = np.stack([heights, face - ahead * g, np.full(12, x * g)], 1)
        volume.paint(tube(vessel, (wide + 0.12) * g), of["muscle"])
        volume.paint(tube(vessel, wide * g), of["flow"], STRUCTURES["vessels"])
        for side in (-1, 1):
            end = vessel[-1]
            branch = curve(
                [end, end + np.array([3.0, 1.2, side * 1.6]) * g, end + np.array([7.0, 3.6, side * 3.6]) * g], 6
            )
            volume.paint(tube(branch, 0.62 * wide * g), of["flow"], STRUCTURES["vessels"])


def paint_column(rng: np.random.Generator, volume: Volume, back: Back, of: Mapping[str, float]) -> None:
    """Vertebrae of marrow in thin dark cortex, discs with their nucleus, arches, and the canal with cord and roots."""
    column, g = back.column, back.grown
    grain = volume.texture(rng, 30)
    bone = of["marrow"] * (1 + 0.06 * grain)
    number = STRUCTURES["vertebrae"]
    volume.paint(column.arches(), of["bone"], number)
    volume.paint(column.arches(-0.14), bone, number)
    volume.paint(column.discs(), of["annulus"], STRUCTURES["discs"])
    v, u, half_y, half_x, phase = column.local(volume.z, volume.y, volume.x)
    radius = 1 + Column.rim(v + 0.12 * half_y, u, half_y, half_x) / half_y
    level = np.clip(np.round(phase).astype(int) + 6, 0, 11)
    flat = np.clip(1 - np.abs(phase - np.round(phase)) / (0.36 * column.disc), 0, 1)
    soft = np.clip((0.80 - radius) / 0.25, 0, 1) * np.minimum(2.2 * flat, 1)
    worn = back.dried[level]
    core = of["nucleus"] + (of["dried"] - of["nucleus"]) * worn
    seen = volume.cover(column.discs())
    volume.mix(soft * seen, core)
    volume.paint(column.bodies(), of["bone"], number)
    volume.paint(column.bodies(0.09), bone, number)
    fused = np.clip((phase - SACRUM + 0.5) / 0.1, 0, 1) * seen
    volume.mix(fused * np.clip(np.abs(phase - np.round(phase)) / 0.05 - 0.3, 0.4, 1), bone)
    volume.labels[fused > 0.5] = number
    volume.paint(column.canal(1.0), of["ligament"])
    volume.paint(column.canal(0.93), of["fat"], STRUCTURES["fat"])
    volume.paint(thecal(column), of["fluid"], STRUCTURES["canal"])
    cone = -4.5 * g + 0.8 * rng.standard_normal()
    heights = np.array([-18.0 * g, cone - 4.0, cone - 1.5, cone])
    line = np.stack(
        [heights, column.at(heights, column.middle) + column.behind(column.at(heights, column.half_y)), 0 * heights], 1
    )
    line[:, 2] = column.at(heights, column.lean)
    volume.paint(tube(line, np.array([0.48, 0.50, 0.36, 0.1]) * g), of["cord"], STRUCTURES["cord"])
    down = np.linspace(cone - 2.0, 11.0 * g, 24)
    middle = column.at(down, column.middle) + column.behind(column.at(down, column.half_y))
    roots = []
    for _ in range(22):
        sway = curve(
            np.column_stack([np.linspace(0, 1, 5), rng.uniform(-0.15, 0.45, 5), rng.uniform(-0.55, 0.55, 5)]), 24
        )
        roots.append(np.stack([down, middle + sway[:, 1] * g, column.at(down, column.lean) + sway[:, 2] * g], 1))
    strands = volume.strands(np.array(roots), np.full((22, 24), 0.075 * g))
    volume.mix(0.9 * strands * volume.cover(thecal(column)), of["cord"])


def thecal(column: Column, wide: float = 0.78) -> Body:
    """The sac of fluid in the canal, which ends at the second sacral vertebra and keeps to its front."""
    sac = column.canal(wide)
    end = column.start + (SACRUM + 1.0) * column.pitch
    return Body(lambda z, y, x: np.maximum(sac.distance(z, y + 0.05, x), z - end), sac.low, sac.high)


def herniate(
    rng: np.random.Generator, volume: Volume, back: Back, of: Mapping[str, float], severity: float
) -> np.ndarray:
    """A disc's core that pushes back into the canal, further when more severe; returns its share of each part."""
    column, g = back.column, back.grown
    level = DISCS[int(rng.integers(len(DISCS)))]
    reach = (0.35 + 0.95 * severity * rng.uniform(0.9, 1.1)) * g
    aside, fall = rng.uniform(-0.55, 0.55) * g, rng.uniform(-0.1, 0.35) * g * severity
    slope = np.gradient(column.middle, column.knots)
    z = column.start + level * column.pitch
    for _ in range(4):  # the disc's height where it meets the canal
        deep = float(column.at(np.array(z), column.half_y))
        z = column.start + level * column.pitch - float(column.at(np.array(z), slope)) * deep
    at = np.array(z)
    rim = float(column.at(at, column.middle)) + deep
    place = (z + fall, rim + 0.42 * reach - 0.12 * g, float(column.at(at, column.lean)) + aside)
    blob = ellipsoid(
        place, (0.42 * g + 0.35 * reach, 0.62 * reach, 0.35 * g + 0.65 * reach), None, draw_bumps(rng, 0.08)
    )
    share = volume.cover(blob) * (1 - volume.cover(column.bodies(0.02)))
    volume.paint(blob.grown(0.07), of["ligament"], within=volume.cover(column.canal(1.0)))
    volume.mix(share, 0.6 * of["annulus"] + 0.4 * of["dried"])
    return share


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; voxels along (z, y, x) over FIELD_CM."""
    of = part_streams(seed)
    conditions = draw_conditions(of["traits"], CONDITIONS, overrides)
    scan = draw_scan(of["scan"], conditions)
    back = draw_back(of["anatomy"], float(conditions["age_years"]), conditions["sex"] == "female")
    zoom = float(1 + 0.06 * of["scan"].uniform(-1, 1)) * back.grown
    field = (FIELD_CM[0] * zoom, FIELD_CM[1] * zoom, FIELD_CM[2] * zoom)
    middle = (0.5 * back.grown, 0.4, 0.0)
    volume = Volume(size, field, float(conditions["slice_thickness_mm"]) / 10, 0.0, middle)
    tissue = tissue_signals(scan)
    tissue["flow"] = 0.25 * tissue["muscle"]  # blood that flows through the slice leaves little signal
    paint_body(of["organs"], volume, back, tissue)
    paint_column(of["texture"], volume, back, tissue)
    lesion = None
    if conditions["pathology"] == "disc_herniation":
        lesion = herniate(of["lesion"], volume, back, tissue, float(conditions["severity"]))
    brightest = max(tissue[name] for name in ("fat", "marrow", "fluid"))
    voxels = receive(of["noise"], volume, volume.mean(), scan, brightest, tissue["marrow"])
    return finish(volume, voxels, conditions, lesion, STRUCTURES["lesion"])


SPINE_MRI = Phantom("mri_volume", CONDITIONS, STRUCTURES, draw)
