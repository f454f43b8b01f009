"""The heart as an MRI volume of axial slices: ventricles, atria and myocardium at a phase of the cycle; two diseases.

The torso, and the place and the axis of the heart in it, are those of `chest_ct` of the same seed, age and sex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from medsynth.phantoms.bodies import Body, draw_bumps, ellipsoid, fork, half_space, loft
from medsynth.phantoms.mediastinum import great_vessels, heart_axes, leftward, sheath
from medsynth.phantoms.mri import Scan, draw_scan, signal, signals
from medsynth.phantoms.mri_scan import receive, scanned
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.skeleton import rib_lines
from medsynth.phantoms.torso import Torso
from medsynth.phantoms.trunk import Trunk, diaphragm, draw_trunk, lung, part_streams
from medsynth.phantoms.volume import Volume, finish

PATHOLOGIES = ("normal", "dilated_cardiomyopathy", "pericardial_effusion")
SEQUENCES = ("ssfp", "t1")
CONDITIONS = scanned(
    PATHOLOGIES, SEQUENCES, 10.0, cycle_phase={"kind": "number", "range": [0.0, 1.0], "unit": "of the cycle"}
)
ORGANS = ("left_ventricle", "right_ventricle", "myocardium", "left_atrium", "right_atrium", "aorta", "lungs", "liver")
STRUCTURES = {name: number for number, name in enumerate((*ORGANS, "lesion"), start=1)}
FIELD_CM = (19.0, 32.0, 32.0)  # along (z, y, x), for a thorax 28 cm wide
FLIP, REPEAT_MS, ECHO_MS = np.radians(50), 3.2, 1.6  # of the balanced sequence; typical values

# T1 in ms at 1.5 T and at 3 T, T2 in ms, proton density: Stanisz et al. 2005 (MRM 54:507), fat of de Bazelaire et al.
# 2004 (Radiology 230:652); lung, marrow and fluid are typical values.
HEART: dict[str, tuple[float, float, float, float]] = {
    "myocardium": (1030, 1471, 42, 0.85),
    "blood": (1441, 1932, 280, 0.95),
    "liver": (576, 812, 44, 0.80),
    "muscle": (1008, 1412, 47, 0.85),
    "fat": (343, 382, 62, 0.95),
    "lung": (1200, 1350, 35, 0.12),
    "marrow": (549, 586, 49, 0.60),
    "effusion": (2700, 3200, 250, 0.97),
}

# Share of the stroke that is ejected at each phase of the cycle, from the end of diastole; the shape of the curve of
# ventricular volume in textbooks of physiology, at about 65 beats a minute.
CYCLE = ((0.0, 0.05, 0.20, 0.36, 0.42, 0.58, 0.85, 1.0), (0.0, 0.03, 0.65, 1.0, 0.98, 0.35, 0.22, 0.0))


def ejected(cycle_phase: float) -> float:
    """Share of the stroke volume that has left the ventricles."""
    return float(np.interp(cycle_phase, *CYCLE))


def balanced(t1: float, t2: float, density: float) -> float:
    """The steady signal of balanced free precession on resonance (Haacke et al. 1999, chapter 18); times in ms."""
    e1, e2 = np.exp(-REPEAT_MS / t1), np.exp(-REPEAT_MS / t2)
    steady = np.sin(FLIP) * (1 - e1) / (1 - (e1 - e2) * np.cos(FLIP) - e1 * e2)
    return float(density * steady * np.exp(-ECHO_MS / t2))


def tissue_signals(scan: Scan) -> dict[str, float]:
    """Signals of every tissue; in `t1`, a spin echo behind inversions, flowing blood is black."""
    at = int(scan.tesla > 2)
    if scan.sequence == "ssfp":
        return {name: balanced(row[at], row[2], row[3]) for name, row in HEART.items()}
    known = signals(scan) | {name: signal(scan, row[at], row[2], row[3]) for name, row in HEART.items()}
    return known | {"blood": 0.04 * known["myocardium"]}


@dataclass(frozen=True)
class Heart:
    """Bodies of a heart at a phase of its cycle, in the order to be painted after the fat around it."""

    outline: Body
    right_wall: Body
    right: Body
    wall: Body
    left: Body
    left_atrium: Body
    right_atrium: Body
    muscles: tuple[Body, ...]


def beat(rng: np.random.Generator, torso: Torso, out: float, dilated: float) -> Heart:
    """A heart with a share `out` of its stroke ejected.

    At the end of diastole the left ventricle of an adult is about 4.6 cm wide with a wall of 0.8 cm; a healthy one
    ejects about 60 % (typical values). `dilated`, 0 to 1, widens it by up to 28 % and takes the ejection down to 20 %.
    """
    centre, axes, _, short = heart_axes(torso)
    left = leftward(axes)
    g = short / 4.9
    size = np.exp(0.05 * rng.standard_normal(3))
    bumps = draw_bumps(rng, 0.02)
    narrows, shortens = (0.34 - 0.26 * dilated) * out, (0.17 - 0.11 * dilated) * out

    def body(place: tuple[float, float, float], radii: np.ndarray | tuple[float, ...], rough: bool = True) -> Body:
        """Places and semi-axes in cm of a middling adult along the heart's own axes: to the apex, up, to the left."""
        at = centre + axes.T @ (np.array(place) * (1, 1, left) * g)
        return ellipsoid(at, np.asarray(radii) * g, axes, bumps if rough else None)

    def base(at: float) -> Body:
        """What lies towards the apex from a plane at a place along the long axis, in cm."""
        return half_space(-axes[0], float(-(centre + axes.T @ np.array([at * g, 0, 0])) @ axes[0]))

    wide = 2.3 * size[0] * (1 + 0.28 * dilated)
    thick = 0.8 * size[1] * (1 - 0.15 * dilated)
    inner = wide * (1 - narrows)
    far = 5.5 * size[2] * (1 + 0.10 * dilated)
    place = (0.6, 0.0, 1.5)
    valve = -1.9 + shortens * 2 * far * 0.7
    shorter = (place[0] + far - valve) / (place[0] + far + 1.9)
    outer = np.sqrt(((wide + thick) ** 2 - wide**2) / shorter + inner**2)  # the muscle keeps its volume
    cavity = body(place, (far - thick, inner, inner)) & base(valve)
    shell = body(place, (far, outer, outer)) & base(valve - 0.2)
    pump = 1 - 0.6 * narrows
    right = (body((0.2, 0.9, -2.1), (5.0 * pump, 3.0 * pump, 2.6 * pump)) & base(valve - 0.3)) - shell
    right_wall = (
        body((0.2, 0.9, -2.1), (5.0 * pump + 0.35, 3.0 * pump + 0.35, 2.6 * pump + 0.35)) & base(valve)
    ) - shell
    fill = 0.88 + 0.14 * out
    moved = 0.5 * (valve + 1.9)  # the atria stretch where the valves' plane is drawn to the apex
    atrium = body((-3.5 + moved, -0.3, 1.0), np.array((2.2 + moved, 2.5, 2.5)) * fill) - base(valve - 0.45)
    other = body((-3.0 + moved, -0.2, -3.0), np.array((2.4 + moved, 2.7, 2.4)) * fill) - base(valve - 0.45)
    muscles = tuple(
        body((1.2, side * 0.55 * inner, 1.5 + 0.25 * inner), (1.6, 0.42, 0.42), rough=False) for side in (-1, 1)
    )
    whole = shell | right_wall | atrium.grown(0.15) | other.grown(0.15)
    return Heart(whole, right_wall, right, shell, cavity, atrium, other, muscles)


def paint_chest(rng: np.random.Generator, volume: Volume, trunk: Trunk, of: Mapping[str, float]) -> None:
    """Skin, fat and muscles, lungs with vessels, and what lies below the diaphragm."""
    torso = trunk.torso
    w, h, d = torso.width, torso.height, torso.depth
    volume.paint(trunk.outline(torso.fat), of["muscle"])
    volume.paint(trunk.outline(torso.fat - 0.2), of["fat"])
    streaks = np.clip(volume.texture(rng, 16) - 0.8, 0, 1)
    volume.paint(trunk.outline(0.0), of["muscle"] + 0.5 * streaks * (of["fat"] - of["muscle"]))
    for side in (-1, 1):
        inside = volume.cover(lung(trunk, side))
        volume.mix(inside, of["lung"], STRUCTURES["lungs"])
        hilum = np.array([0.47 * h, 0.05 * d, side * 0.115 * w])
        aim = np.column_stack([rng.uniform(-1, 1, 9), rng.uniform(-0.8, 0.8, 9), np.full(9, side * 0.8)])
        for lines, radii in fork(rng, hilum, aim, 0.016 * w, 0.10 * w, 5, (1.3, 1.1, 0.85)):
            volume.mix(volume.strands(lines, radii) * inside, of["blood"])
    cavity = loft(np.array([0.70, 1.0, 1.6]) * h, -0.05 * d, 0.0, np.array([0.95, 1.0, 1.0]) * d, 0.49 * w, 2.4)
    below = volume.cover(cavity & (diaphragm(torso, -1) | diaphragm(torso, 1)))
    volume.mix(below, of["fat"])
    liver = ellipsoid((1.02 * h, 0.0, -0.24 * w), (0.25 * h, 0.95 * d, 0.30 * w))
    liver = liver | ellipsoid((0.97 * h, -0.35 * d, 0.02 * w), (0.13 * h, 0.5 * d, 0.26 * w))
    volume.paint(liver, of["liver"], STRUCTURES["liver"], within=below)
    volume.paint(
        ellipsoid((0.98 * h, 0.42 * d, 0.35 * w), (0.16 * h, 0.46 * d, 0.13 * w)), 0.9 * of["liver"], within=below
    )
    stomach = ellipsoid((1.00 * h, -0.15 * d, 0.24 * w), (0.17 * h, 0.62 * d, 0.19 * w))
    volume.paint(stomach, of["muscle"], within=below)
    volume.paint(stomach.grown(-0.4), 0.5 * of["effusion"] + 0.3 * of["muscle"], within=below)


def paint_bones(volume: Volume, trunk: Trunk, of: Mapping[str, float]) -> None:
    """Ribs, and the spine with its muscles."""
    torso = trunk.torso
    w = torso.width
    column = trunk.column()
    back = column.middle + column.half_y + 3.0
    for side in (-1, 1):
        volume.paint(loft(column.knots, back, side * 0.085 * w, 0.066 * w, 0.086 * w, 2.6), of["fat"], edge=0.3)
        volume.paint(loft(column.knots, back, side * 0.085 * w, 0.056 * w, 0.076 * w, 2.6), of["muscle"])
    volume.paint(column.arches(), 0.5 * of["marrow"])
    volume.paint(column.discs(), 0.7 * of["muscle"])
    volume.paint(column.bodies(0.08), of["marrow"])
    volume.paint(column.canal(1.0), of["effusion"])
    volume.paint(column.canal(0.55), of["myocardium"])
    lines, wide, _ = rib_lines(torso, 60)
    lines = lines[..., [1, 2, 0]] * (1, -1, 1)
    both = np.concatenate([lines, lines * (1, 1, -1)])
    volume.mix(volume.strands(both, np.tile(wide, (2, 1))), 0.25 * of["marrow"])
    volume.mix(volume.strands(both, np.tile(0.6 * wide, (2, 1))), of["marrow"])


def paint_heart(volume: Volume, heart: Heart, of: Mapping[str, float]) -> None:
    number = STRUCTURES
    volume.paint(heart.outline.grown(0.45), of["fat"], edge=0.2)
    volume.paint(heart.right_wall, of["myocardium"])
    volume.paint(heart.left_atrium.grown(0.15) | heart.right_atrium.grown(0.15), of["myocardium"])
    volume.paint(heart.right_atrium, of["blood"], number["right_atrium"])
    volume.paint(heart.right, of["blood"], number["right_ventricle"])
    volume.paint(heart.left_atrium, of["blood"], number["left_atrium"])
    volume.paint(heart.wall, of["myocardium"], number["myocardium"])
    volume.paint(heart.left, of["blood"], number["left_ventricle"])
    for muscle in heart.muscles:
        volume.paint(muscle & heart.left, of["myocardium"])


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; voxels along (z, y, x) over FIELD_CM, which grows with the thorax."""
    of = part_streams(seed)
    conditions = draw_conditions(of["traits"], CONDITIONS, overrides)
    trunk = draw_trunk(of["anatomy"], of["scan"], conditions | {"contrast_agent": "none"}, "chest")
    scan = replace(draw_scan(of["scan"], conditions), sequence=str(conditions["sequence"]))
    torso = trunk.torso
    zoom = torso.width / 28 * (1 + 0.04 * of["scan"].uniform(-1, 1))
    centre = heart_axes(torso)[0]
    volume = Volume(
        size,
        (FIELD_CM[0] * zoom, FIELD_CM[1] * zoom, FIELD_CM[2] * zoom),
        float(conditions["slice_thickness_mm"]) / 10,
        0.0,
        (float(centre[0]), -0.5, float(0.4 * centre[2])),
    )
    tissue = tissue_signals(scan)
    severity = float(conditions["severity"])
    dilated = severity if conditions["pathology"] == "dilated_cardiomyopathy" else 0.0
    heart = beat(of["organs"], torso, ejected(float(conditions["cycle_phase"])), dilated)
    paint_chest(of["texture"], volume, trunk, tissue)
    volume.paint(sheath(torso), tissue["fat"])
    known = {"airway_wall": 0.7 * tissue["muscle"], "airways": 0.0, "gullet": tissue["muscle"], "gullet_air": 0.0}
    numbers = {"aorta": STRUCTURES["aorta"]}
    for name, pieces in great_vessels(torso):
        volume.paint(pieces, known.get(name, tissue["blood"]), numbers.get(name))
    lesion = None
    if conditions["pathology"] == "pericardial_effusion":
        # Fluid sinks: the sac is wider behind and below.
        wide = heart.outline.grown(0.25 + 1.6 * severity)
        shift = 0.35 * severity
        sac = Body(lambda z, y, x: wide.distance(z - shift, y - shift, x), wide.low, wide.high)
        lesion = volume.cover(sac) * (1 - volume.cover(heart.outline))
        volume.paint(sac.grown(0.45), tissue["fat"], edge=0.2)
        paint_heart(volume, heart, tissue)
        volume.mix(lesion, tissue["effusion"])
    else:
        paint_heart(volume, heart, tissue)
    paint_bones(volume, trunk, tissue)
    brightest = max(tissue[name] for name in ("blood", "fat", "marrow"))
    voxels = receive(of["noise"], volume, volume.mean(), scan, brightest, tissue["myocardium"])
    return finish(volume, voxels, conditions, lesion, STRUCTURES["lesion"])


CARDIAC_MRI = Phantom("mri_volume", CONDITIONS, STRUCTURES, draw)
