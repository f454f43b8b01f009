"""A person's head in space, painted by the names of its tissues: the MNI152 brain in its skull, scalp, face and neck.

CT gives each tissue its HU, MRI its signal. Places of `Volume` are in cm (z towards the feet, y to the back, x to the
left); those of the template in mm (x to the left, y forwards, z upwards, from the anterior commissure).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from medsynth.phantoms.bodies import Body, Triple, curve, draw_bumps, ellipsoid, loft, tube
from medsynth.phantoms.brain import COARSE, ORIGIN, Brain, atrophy, draw_spot, template, tissues
from medsynth.phantoms.volume import Volume

STRUCTURES = {"grey_matter": 1, "white_matter": 2, "fluid": 3, "bone": 4, "soft_tissue": 5, "air_cells": 6, "lesion": 7}
SOFT, BONE, AIR_CELLS = (STRUCTURES[name] for name in ("soft_tissue", "bone", "air_cells"))
FROM_MM, TO_MM = -76.0, 100.0  # heights of the block in the template
SIDE_MM = 246.0  # of the block, before the person's own size
VENTRICLE_MM, VENTRICLE_SPREAD_MM = 14.0, 20.0  # height where ventricles widen most, and how far from it


@dataclass(frozen=True)
class Head:
    """One person.

    Attributes:
        brain: its tissues in each part of a volume, (slices, PARTS, rows, columns) each.
        z: the template's height of each part in mm, likewise.
        pose: turn about z in radians, tilt as a slope, stretch of y, of x, and shift of x in mm.
        loss: of tissue with age.
    """

    brain: Brain
    z: np.ndarray
    pose: tuple[float, float, float, float, float]
    loss: float

    def at(self, x: float, y: float, z: float) -> Triple:
        """The volume's place (z, y, x) in cm of a place of the template in mm."""
        turn, tilt, stretch, wide, drift = self.pose
        across, back = (x - drift) * wide, -(y + 18) * stretch
        right, down = across * np.cos(turn) - back * np.sin(turn), back * np.cos(turn) + across * np.sin(turn)
        return float(-(z - tilt * y) / 10), float(down / 10), float(right / 10)

    def way(self, *places: Sequence[float]) -> np.ndarray:
        return np.array([self.at(*place) for place in places])


def draw_head(rng: np.random.Generator, volume: Volume, age: float) -> Head:
    """The brain of a person in the parts of a volume; the head's middle is the volume's origin."""
    outside = template()[2]
    stretch, wide = 1 + 0.04 * rng.standard_normal(2)
    turn, tilt, drift, person = 0.04 * rng.standard_normal(), *rng.normal(0, (0.04, 1.5)), rng.uniform(0.6, 1.4)
    warp = [1.8 * volume.texture(rng, 9) + 1.0 * volume.texture(rng, 16) for _ in range(3)]
    folds = 0.55 * volume.texture(rng, 18) + 0.6 * volume.texture(rng, 30) + 0.55 * volume.texture(rng, 46)
    down, right = 10 * volume.y, 10 * volume.x
    shape = volume.values.shape
    x = np.broadcast_to((right * np.cos(turn) + down * np.sin(turn)) / wide + drift, shape).astype(np.float32)
    y = np.broadcast_to(-(down * np.cos(turn) - right * np.sin(turn)) / stretch - 18, shape).astype(np.float32)
    z = (-10 * volume.z + tilt * y).astype(np.float32)
    loss = person * atrophy(age)
    rim = np.stack([at + origin for at, origin in zip((x, y, z), ORIGIN, strict=True)]) / COARSE
    out = map_coordinates(outside, rim, order=1, mode="nearest") - 2.0 - 1.5 * loss
    # Below the template's last slice its distance stays that of the slice: add how far below it is.
    out = out + np.maximum(-ORIGIN[2] - z, 0)
    height = 1.3 * np.exp(-0.5 * ((z - VENTRICLE_MM) / VENTRICLE_SPREAD_MM) ** 2)
    folds *= np.float32(1 + 0.5 * loss)
    shares = tissues((x, y, z), warp, folds, loss, out, height).astype(np.float32)
    brain = Brain(shares[0], shares[1], shares[2], out, x, y)
    return Head(brain, z, (float(turn), float(tilt), float(stretch), float(wide), float(drift)), float(loss))


def ramp(volume: Volume, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
    """1 where a distance in mm is negative, 0 where it is positive, a pixel or `soft` mm wide between."""
    return np.clip(0.5 - distance / max(soft, 10 * volume.spacing[1]), 0, 1)


def paint_head(
    rng: np.random.Generator, volume: Volume, head: Head, of: Mapping[str, float], sinus: float, marrow: float
) -> None:
    """Paint every tissue by its value `of` its name; `sinus` is venous blood's, `marrow` the diploe's."""
    brain, z = head.brain, head.z
    out = brain.outside
    face = paint_face(volume, head, of)
    thick = np.clip(6.0 + 0.8 * rng.standard_normal() + 1.0 * volume.texture(rng, 4), 3, 12)
    base = np.clip((-8 - z) / 12, 0, 1)  # the skull's base is thinner, and no scalp lies on it
    thick = thick * (1 - 0.45 * base)
    scalp = np.clip(4.5 + 1.0 * volume.texture(rng, 4) + rng.uniform(-1, 2), 2, 14)
    bare = 1 - face
    volume.mix(ramp(volume, out - thick - scalp) * bare, of["skin"], SOFT)
    volume.mix(ramp(volume, out - thick - scalp + 1.6) * bare, of["fat"])
    side = np.clip((np.abs(brain.x) - 40) / 12, 0, 1) * np.clip((brain.y + 45) / 15, 0, 1)
    volume.mix(ramp(volume, out - thick - 0.7 * scalp) * side * bare, of["muscle"])
    hole = ramp(volume, np.hypot(brain.x, brain.y + 42) - 15, 3.0) * (z < -40)
    shell = ramp(volume, out - thick) * (1 - hole)
    volume.mix(shell, of["bone"], BONE)
    diploe = ramp(volume, out - thick + 1.9) * ramp(volume, 1.7 - out) * (1 - hole) * (1 - base)
    volume.mix(diploe, marrow)
    tissue = of["grey"] * brain.grey + of["white"] * brain.white + of["fluid"] * brain.fluid
    inside = brain.grey + brain.white + brain.fluid
    volume.values += inside * -volume.values + tissue
    falx = ramp(volume, np.abs(brain.x) - 0.7) * ramp(volume, 38 - np.abs(brain.y + 18), 8) * (z > 5) * inside
    volume.mix(0.5 * falx, of["muscle"])
    crest = ramp(volume, np.abs(brain.x) - 4.0) * ramp(volume, -out - 6.0) * ((brain.y < 40) & (z > 0))
    volume.mix(crest * inside, sinus)
    paint_vessels(volume, head, of["blood"])
    paint_cavities(rng, volume, head, of)


def paint_face(volume: Volume, head: Head, of: Mapping[str, float]) -> np.ndarray:
    """Face, nose and neck with fat, muscle and glands; returns the share of each part that they cover."""
    at = head.at
    heights = (20.0, 0.0, -25.0, -50.0, -75.0, -110.0)
    rows = [at(0.0, front, z) for front, z in zip((28, 32, 34, 34, 34, 30), heights, strict=True)]
    face = loft(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        (4.0, 5.2, 6.0, 6.1, 6.0, 5.0),
        (4.6, 6.2, 6.7, 6.6, 6.0, 5.0),
        2.3,
    )
    neck = tube(head.way((0, -34, -44), (0, -26, -130)), (7.0, 5.6))[0]
    nose = loft(
        [at(0, 92, z)[0] for z in (-14, -30, -44, -52)],
        [at(0, y, -30)[1] for y in (86, 91, 98, 92)],
        at(0, 92, -30)[2],
        (0.5, 1.5, 1.9, 0.6),
        (0.6, 1.0, 1.7, 1.3),
    )
    whole = face | neck | nose
    volume.paint(whole, of["skin"], SOFT)
    volume.paint(whole.grown(-0.22), of["fat"])
    volume.paint((face | neck).grown(-0.75), of["muscle"])
    for side in (-1, 1):
        volume.paint(ellipsoid(at(side * 62, 8, -52), (2.4, 1.7, 1.0)), of["gland"])
        volume.paint(ellipsoid(at(side * 33, 32, -58), (2.4, 1.8, 1.1)), of["fat"])  # cheek
        ear = ellipsoid(at(side * 80, -24, -28), (2.7, 1.5, 0.35))
        volume.paint(ear, of["skin"])
    return volume.cover(whole)


def paint_vessels(volume: Volume, head: Head, blood: float) -> None:
    """The basilar artery, the carotids and the first branches of the circle of Willis."""
    ways: list[tuple[tuple[int, int, int], ...]] = [((0, -34, -50), (0, -30, -38), (0, -24, -22))]
    for side in (-1, 1):
        ways.append(((side * 22, 0, -60), (side * 20, 0, -32), (side * 12, 4, -20), (side * 13, 2, -12)))
        ways.append(((side * 13, 2, -12), (side * 26, 4, -14), (side * 40, 0, -10), (side * 44, -8, 2)))
        ways.append(((side * 12, 3, -12), (side * 3, 18, -12), (side * 2, 36, 6), (side * 2, 34, 26)))
        ways.append(((0, -24, -20), (side * 14, -30, -14), (side * 20, -52, -4)))
    lines = np.stack([curve(head.way(*places), 6) for places in ways])
    volume.mix(0.9 * volume.strands(lines, np.full(lines.shape[:2], 0.16)), blood)


def paint_cavities(rng: np.random.Generator, volume: Volume, head: Head, of: Mapping[str, float]) -> None:
    """Orbits, the nose and its sinuses, the temporal bones with their air cells, jaws, and the neck's spine."""
    at = head.at
    bone, air = of["bone"], of["air"]
    for side in (-1, 1):
        socket = ellipsoid(at(side * 31, 52, -24), (2.0, 3.1, 2.0))
        volume.paint(socket.grown(0.25), bone, BONE)
        front = ellipsoid(at(side * 31, 60, -24), (1.9, 2.6, 1.95))
        volume.paint(socket | front, of["fat"], SOFT)
        volume.paint(tube(head.way((side * 31, 62, -24), (side * 14, 28, -20)), 0.22), of["white"])
        for shift in ((9, 0), (-9, 0), (0, 8), (0, -8)):  # muscles of the eye
            place = (side * 31 + shift[0], 60, -24 + shift[1])
            volume.paint(tube(head.way(place, (side * 17, 32, -21)), 0.2), of["muscle"])
        eye = ellipsoid(at(side * 31, 66, -24), (1.2, 1.2, 1.2))
        volume.paint(eye, of["muscle"])
        volume.paint(eye.grown(-0.12), of["vitreous"])
        volume.paint(ellipsoid(at(side * 31, 74, -24), (0.42, 0.2, 0.42)), of["gland"])
        petrous = tube(head.way((side * 20, -8, -32), (side * 38, -18, -30), (side * 58, -30, -30)), (0.7, 1.0, 1.4))
        volume.paint(petrous, bone, BONE)
        cells = ellipsoid(at(side * 60, -34, -36), (1.7, 1.3, 0.9), None, draw_bumps(rng, 0.1))
        speckle = volume.texture(rng, 60)
        volume.paint(cells, 0.45 * air + 0.55 * bone + 0.3 * (bone - air) * np.clip(speckle, -1, 1), AIR_CELLS)
        volume.paint(tube(head.way((side * 76, -22, -30), (side * 54, -20, -30)), 0.35), air, AIR_CELLS)
        arch = curve(
            head.way((side * 58, -8, -32), (side * 68, 14, -33), (side * 58, 40, -36), (side * 42, 58, -36)), 8
        )
        volume.paint(tube(arch, 0.38), bone, BONE)
        jaw = curve(head.way((side * 51, -6, -38), (side * 49, 4, -66), (side * 40, 26, -96), (side * 8, 70, -106)), 9)
        volume.paint(tube(jaw, 0.7), bone, BONE)
        cheek = ellipsoid(at(side * 27, 46, -55), (1.6, 1.7, 1.35), None, draw_bumps(rng, 0.08))
        volume.paint(cheek.grown(0.16), bone, BONE)
        volume.paint(cheek, air, AIR_CELLS)
    nasal = loft(
        [at(0, 50, z)[0] for z in (-12, -24, -46, -58)],
        [at(0, y, -30)[1] for y in (52, 54, 54, 50)],
        at(0, 50, -30)[2],
        (1.4, 2.2, 3.4, 3.0),
        (0.8, 1.2, 1.5, 1.2),
    )
    volume.paint(nasal.grown(0.15), bone, BONE)
    turbinates = 0.5 + 0.5 * np.clip(volume.texture(rng, 40), -1, 1)
    volume.paint(nasal, air + (of["gland"] - air) * turbinates, AIR_CELLS)
    volume.paint(ellipsoid(at(0, 50, -32), (2.4, 3.0, 0.10)), of["gland"])
    sphenoid = ellipsoid(at(rng.normal(0, 3), 20, -30), (1.1, 1.2, 1.3), None, draw_bumps(rng, 0.15))
    volume.paint(sphenoid.grown(0.25), bone, BONE)
    volume.paint(sphenoid, air, AIR_CELLS)
    frontal = ellipsoid(at(rng.normal(0, 4), 73, 4), (1.0 + 0.6 * rng.random(), 0.45, 1.6), None, draw_bumps(rng, 0.25))
    volume.paint(frontal.grown(0.2), bone, BONE)
    volume.paint(frontal, air, AIR_CELLS)
    volume.paint(tube(head.way((0, 12, -52), (0, -2, -90)), 0.75), air, AIR_CELLS)
    volume.paint(
        loft([at(0, 40, z)[0] for z in (-62, -72)], at(0, 46, -65)[1], at(0, 46, -65)[2], 3.0, 2.6), bone, BONE
    )
    volume.paint(ellipsoid(at(0, 38, -86), (1.8, 3.4, 2.4)), of["muscle"])
    canal = head.way((0, -42, -58), (0, -44, -130))
    ring = tube(canal, 2.3)[0] - tube(canal, 1.5)[0]
    below = Body(lambda z, y, x: at(0, -40, -76)[0] - z)
    volume.paint(ring & below, bone, BONE)
    volume.paint(tube(canal, 1.35), of["fluid"])
    volume.paint(tube(canal, 0.65), 0.7 * of["white"] + 0.3 * of["grey"])


def label(volume: Volume, head: Head, fine: int) -> np.ndarray:
    """(slices, rows, columns) labels of STRUCTURES but the lesion, of pixels of `fine` by `fine` of the volume's."""
    at = fine // 2
    labels = volume.middle_labels()[:, at::fine, at::fine]
    shares = np.stack([pool(share, fine).mean(1) for share in (head.brain.grey, head.brain.white, head.brain.fluid)])
    most = shares.argmax(0)
    brain = (shares.sum(0) > 0.5) & (shares.max(0) > 0.3)
    labels[brain] = most[brain] + STRUCTURES["grey_matter"]
    return labels


def ragged(rng: np.random.Generator, volume: Volume) -> np.ndarray:
    """A field of unit variance for ragged borders, with detail down to about 5 mm."""
    return 0.75 * volume.texture(rng, 14) + 0.55 * volume.texture(rng, 26) + 0.37 * volume.texture(rng, 48)


def spot(rng: np.random.Generator, head: Head, depth: float) -> Triple:
    """A place of the template in mm, `depth` or more under the surface where there is such a place."""
    level = rng.uniform(0, 42)
    x, y = draw_spot(rng, level, depth)
    return x, y, float(level)


def ball(head: Head, place: Triple, radii: Triple, bumps: np.ndarray | None = None) -> np.ndarray:
    """About the distance in mm (slices, PARTS, rows, columns) to an ellipsoid in the template; negative inside."""
    body = ellipsoid(place, radii, None, bumps)
    return body.distance(head.brain.x, head.brain.y, head.z)


def pool(parts: np.ndarray, fine: int) -> np.ndarray:
    """(slices, PARTS, rows, columns) means of `fine` by `fine` pixels."""
    n, p, rows, columns = parts.shape
    return parts.reshape(n, p, rows // fine, fine, columns // fine, fine).mean((3, 5))
