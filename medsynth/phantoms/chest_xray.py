"""The chest radiograph: a torso, perhaps with a lesion, seen by a digital detector from the front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from medsynth.phantoms import projection as pj
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.rays import View
from medsynth.phantoms.shapes import measure_lesion
from medsynth.phantoms.torso import Torso, draw_torso

PATHOLOGIES = ("normal", "pneumonia", "nodule", "effusion")
SEXES = ("female", "male")
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "age_years": {"kind": "number", "range": [0.0, 100.0], "unit": "years"},
    "sex": {"kind": "categorical", "values": list(SEXES)},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
STRUCTURES = {"lungs": 1, "heart": 2, "spine": 3, "lesion": 4}
SCATTER, SCATTER_BREADTH = 0.12, 0.11  # see projection.scattered
SHOWS = 0.35  # a lung shows where a ray passes more of it than this share of the chest's half-depth
NODULE_DEPTH = 0.14  # of soft tissue in the middle of a nodule of middling density, as a share of the field's width
PLACES = (48, 48)  # rays on which a lesion's place is chosen, the same for every size of image


@dataclass(frozen=True)
class Acquisition:
    """How the image was taken: field in the patient's frame (left, top, width, height in cm), dose and display."""

    field: tuple[float, float, float, float]
    photons_per_cm2: float
    greys: tuple[float, float]


def draw_acquisition(rng: np.random.Generator, torso: Torso, size: tuple[int, int]) -> Acquisition:
    fill, across, down, dose, dark, bright = rng.uniform(-1, 1, 6)
    side = torso.width / (0.76 + 0.08 * fill)
    tall = side * size[0] / size[1]
    middle = 0.50 * torso.height + 0.03 * side * down
    return Acquisition(
        field=(-side / 2 + 0.02 * side * across, middle - tall / 2, side, tall),
        photons_per_cm2=10 ** (7.2 + 0.3 * dose),
        greys=(0.22 + 0.05 * dark, 0.82 + 0.05 * bright),
    )


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below -1, 1 above 1, and smooth between."""
    t = np.clip((x + 1) / 2, 0, 1)
    return t * t * (3 - 2 * t)


def visible(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Where the right and the left lung show, as bool (rows, columns)."""
    clear = view.mediastinum.length() == 0
    right, left = ((lung > SHOWS * view.torso.depth) & clear for lung in view.lungs)
    return right, left


def draw_place(
    rng: np.random.Generator, torso: Torso, field: tuple[float, float, float, float], margin: float
) -> tuple[float, float]:
    """A point (x, y) of the visible lungs in cm, at least `margin` cm from their edge where there is such a place."""
    view = View(torso, field, PLACES)
    x, y = np.broadcast_arrays(view.x, view.y)
    side = int(rng.integers(2))
    pick, jitter_x, jitter_y = rng.uniform(size=3)
    lung = visible(view)[side]
    clearance = distance_transform_edt(lung, sampling=view.spacing[::-1])
    rows, cols = np.nonzero(clearance >= min(margin, 0.9 * clearance.max()))
    row, col = rows[int(pick * len(rows))], cols[int(pick * len(rows))]
    return x[row, col] + (jitter_x - 0.5) * view.spacing[0], y[row, col] + (jitter_y - 0.5) * view.spacing[1]


def nodule(rng: np.random.Generator, view: View, severity: float) -> tuple[np.ndarray, np.ndarray]:
    """A ball of soft tissue in the lung.

    Returns:
        added optical depth and cover in [0, 1], both (rows, columns); the lesion is where the cover is above a half.
    """
    radius = rng.uniform(0.04, 0.10) * view.field[2]
    x, y = draw_place(rng, view.torso, view.field, 0.8 * radius)
    ball = view.ellipsoid((x, y, 0.0), (radius, radius, radius)).length()
    path = np.minimum(ball, view.lungs[0] + view.lungs[1])
    # From ground glass to calcified: severity sets the shadow's depth whatever the ball's size, as a reader grades it.
    shadow = (0.4 + 2.2 * severity) * NODULE_DEPTH * view.field[2]
    return shadow * (pj.MU_SOFT - pj.MU_LUNG) * path / max(path.max(), 1e-6), (path > 0).astype(np.float32)


def pneumonia(rng: np.random.Generator, view: View, severity: float) -> tuple[np.ndarray, np.ndarray]:
    """Air spaces filled with fluid: a cloud with ragged, soft borders over part of one lung."""
    radius = rng.uniform(0.11, 0.20) * view.field[2]
    x, y = draw_place(rng, view.torso, view.field, 0.55 * radius)
    tall = rng.uniform(1.0, 1.5)
    cloud = sum(
        share
        * (pj.gaussian(n, view.shape[0], 0.6 / n) @ rng.standard_normal((n, n), dtype=np.float32))
        @ pj.gaussian(n, view.shape[1], 0.6 / n).T
        for n, share in ((10, 0.5), (24, 0.45))
    )
    distance = np.hypot((view.x - x) / radius, (view.y - y) / (radius * tall))
    lung = view.lungs[int(x > 0)]
    fill = smoothstep((1 - distance + 0.5 * cloud) / 0.45) * (0.8 + 0.35 * np.clip(cloud, -1, 1))
    density = 0.15 + 0.85 * severity
    fill = np.clip(fill, 0, 1)
    return density * (pj.MU_SOFT - pj.MU_LUNG) * 0.75 * fill * lung, fill * (lung > SHOWS * view.torso.depth)


def effusion(rng: np.random.Generator, view: View, severity: float) -> tuple[np.ndarray, np.ndarray]:
    """Fluid at the base of one lung, its surface climbing towards the flank: more fluid when more severe."""
    side = int(rng.integers(2))
    torso = view.torso
    climb = rng.uniform(0.06, 0.12) * torso.height
    lateral, medial, _ = torso.edges(view.y)
    outward = np.clip((np.abs(view.x) - medial) / np.maximum(lateral - medial, 1e-3), 0, 1)
    surface = torso.height * (0.90 - 0.45 * severity) + climb * (1 - outward**3)
    under = smoothstep((view.y - surface) / (0.03 * torso.height)).astype(np.float32)
    lung = view.lungs[side]
    return 0.95 * (pj.MU_SOFT - pj.MU_LUNG) * under * lung, under * (lung > SHOWS * torso.depth)


LESIONS = {"pneumonia": pneumonia, "nodule": nodule, "effusion": effusion}


def label(view: View, cover: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """The label map: what more than half of a pixel shows, the lesion on top."""
    rows, cols = (n // m for n, m in zip(view.shape, size, strict=True))

    def seen(mask: np.ndarray) -> np.ndarray:
        return mask.reshape(size[0], rows, size[1], cols).mean((1, 3), dtype=np.float32)

    right, left = visible(view)
    labels = np.zeros(size, np.uint8)
    labels[seen(view.spine.length() > 0) > 0.5] = STRUCTURES["spine"]
    labels[seen(right | left) > 0.5] = STRUCTURES["lungs"]
    labels[seen(view.heart.length() > 0) > 0.5] = STRUCTURES["heart"]
    if cover is not None:
        share = seen(cover)
        labels[share >= min(0.5, share.max())] = STRUCTURES["lesion"]
    return labels


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; separate random streams keep anatomy, acquisition and noise when a condition changes."""
    traits, anatomy, acquired, lesion, noise = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(5)
    )
    conditions = draw_conditions(traits, CONDITIONS, overrides)
    torso = draw_torso(anatomy, float(conditions["age_years"]), str(conditions["sex"]))
    acquisition = draw_acquisition(acquired, torso, (size[0], size[1]))
    fine = 2 if max(size) <= 128 else 1
    view = View(torso, acquisition.field, (fine * size[0], fine * size[1]))

    healthy = view.optical_depth()
    diseased, cover = healthy, None
    if conditions["pathology"] != "normal":
        added, cover = LESIONS[str(conditions["pathology"])](lesion, view, float(conditions["severity"]))
        diseased = healthy + added
    # Scatter and display are those of the healthy patient, so that a lesion changes its own rays alone.
    scatter = pj.scattered(healthy, SCATTER_BREADTH, SCATTER)
    exposure = acquisition.photons_per_cm2 * acquisition.field[2] * acquisition.field[3] / (size[0] * size[1])
    clean, seen = (pj.detected(pj.transmission(depth) + scatter, (size[0], size[1])) for depth in (healthy, diseased))
    reference = -np.log(clean)
    dark, bright = np.quantile(reference[reference > 0.35 * reference.max()], (0.1, 0.9))
    voxels = pj.display(-np.log(pj.noisy(seen, exposure, noise)), dark, bright, acquisition.greys)
    labels = label(view, cover, (size[0], size[1]))
    return PhantomImage(
        voxels[None].astype(np.float32), labels, conditions | measure_lesion(labels, STRUCTURES["lesion"])
    )


CHEST_XRAY = Phantom("chest_xray", CONDITIONS, STRUCTURES, draw)
