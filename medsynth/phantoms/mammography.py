"""The mammogram: a compressed breast with a mass, calcifications or nothing, seen by a digital detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsynth.phantoms import compressed_breast as cb
from medsynth.phantoms import projection as pj
from medsynth.phantoms.compressed_breast import DENSITIES, Breast, Paths
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.shapes import Blob, cover, draw_waves, measure_lesion, pool

PATHOLOGIES = ("normal", "mass", "calcification")
VIEWS = ("CC", "MLO")
SIDES = ("left", "right")
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "age_years": {"kind": "number", "range": [35.0, 85.0], "unit": "years"},
    "density": {"kind": "ordinal", "values": list(DENSITIES)},
    "view": {"kind": "categorical", "values": list(VIEWS)},
    "side": {"kind": "categorical", "values": list(SIDES)},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
STRUCTURES = {"fat": 1, "gland": 2, "pectoral": 3, "lesion": 4}
SCATTER, SCATTER_BREADTH = 0.02, 0.08  # behind a grid; see projection.scattered
EQUALISED = 0.75  # share of the breast's thinning that processing makes up for (Byng et al. 1997, Radiology 203:564)
DENSE = 0.6  # share of gland along a ray that the display shows as dense tissue
SKIN_SHOWS = 0.4  # optical depth from which on a ray is shown in full
PLACES = 48  # rays along each axis on which a lesion's place is chosen
GRAINS = 30  # calcifications of the most severe cluster
SPICULES = 64  # places round a mass at which spicules are drawn


@dataclass(frozen=True)
class Acquisition:
    """How the image was taken.

    Attributes:
        field: (height, width) in cm; the chest wall is its edge.
        photons_per_cm2: that reach the detector where there is no breast.
        greys: of fat and of dense tissue, on the display.
    """

    field: tuple[float, float]
    photons_per_cm2: float
    greys: tuple[float, float]


def draw_acquisition(rng: np.random.Generator, breast: Breast, size: tuple[int, int]) -> Acquisition:
    fill, dose, dark, bright = rng.uniform(-1, 1, 4)
    # A field that holds the breast in both directions, with air in front of the nipple.
    tall = max(breast.height_cm / (0.92 + 0.05 * fill), 1.12 * breast.reach_cm * size[0] / size[1])
    return Acquisition(
        field=(tall, tall * size[1] / size[0]),
        photons_per_cm2=10 ** (7.4 + 0.3 * dose),
        greys=(0.24 + 0.06 * dark, 0.74 + 0.06 * bright),
    )


def draw_place(
    rng: np.random.Generator, breast: Breast, field: tuple[float, float], margin: float
) -> tuple[float, float]:
    """A point (y, x) in cm, at least `margin` from skin, muscle and the image's edges where there is such a place."""
    pick, down, across = rng.uniform(size=3)
    step = breast.height_cm / PLACES, breast.reach_cm / PLACES
    y = breast.top_cm + (np.arange(PLACES)[:, None] + 0.5) * step[0]
    x = (np.arange(PLACES)[None] + 0.5) * step[1]
    room = np.minimum(breast.depth(y, x) - breast.skin_cm, -breast.muscle_depth(y, x))
    room = np.minimum(room, np.minimum(x, np.minimum(y, field[0] - y)))
    rows, columns = np.nonzero(room >= min(margin, 0.95 * room.max()))
    at = int(pick * len(rows))
    return float(y[rows[at], 0] + (down - 0.5) * step[0]), float(x[0, columns[at]] + (across - 0.5) * step[1])


def mass(
    rng: np.random.Generator,
    breast: Breast,
    paths: Paths,
    field: tuple[float, float],
    severity: float,
    y: np.ndarray,
    x: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A mass: round, well-defined and of low density when mild, irregular, spiculated and dense when severe.

    Returns:
        added optical depth and cover in [0, 1], both (rows, columns); the lesion is where the cover is above a half.
    """
    radius = 0.45 + 0.75 * rng.uniform() ** 1.3
    flat, turn = rng.uniform(size=2)
    centre = draw_place(rng, breast, field, 1.3 * radius)
    waves = tuple(
        (n, (0.06 + 0.30 * severity) * height, at) for n, height, at in draw_waves(rng, 1.0, (2, 3, 4, 5, 7, 9))
    )
    spikes = np.maximum(rng.standard_normal(SPICULES) - 0.7, 0)
    lengths = rng.uniform(0.5, 1.5, SPICULES)
    outline = Blob(centre, (radius, radius * (0.8 + 0.4 * flat)), np.pi * turn, waves)
    distance = outline.distance(np.stack(np.broadcast_arrays(y, x)))
    inside = np.clip(-distance / radius, 0, 1)
    margin = 0.08 + 0.10 * severity
    ball = 2 * radius * np.sqrt(1 - (1 - inside) ** 2) + 0.5 * radius * cover(distance, margin)
    angle = (np.arctan2(y - centre[0], x - centre[1]) / (2 * np.pi) + 0.5) * SPICULES - 0.5
    low = np.floor(angle).astype(int)
    share = angle - low
    height, length = ((1 - share) * v[low % SPICULES] + share * v[(low + 1) % SPICULES] for v in (spikes, lengths))
    outward = np.maximum(distance, 0) / radius
    spicules = (
        severity**1.5 * 1.1 * radius * height * np.exp(-((outward / length) ** 2)) * (1 - cover(distance, margin))
    )
    path = np.minimum((ball + spicules) * (0.55 + 0.75 * severity), paths.inner)
    replaced = cb.MU_FAT + 0.5 * (cb.MU_GLAND - cb.MU_FAT) * paths.gland / np.maximum(paths.inner, 1e-3)
    return (cb.MU_TUMOUR - replaced) * path, cover(distance, margin) * (paths.inner > 0)


def calcification(
    rng: np.random.Generator,
    breast: Breast,
    paths: Paths,
    field: tuple[float, float],
    severity: float,
    y: np.ndarray,
    x: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A cluster of coarse calcifications, a millimetre or two each: more of them when more severe, of uneven size."""
    reach = 0.55 + 0.55 * rng.uniform()
    centre = draw_place(rng, breast, field, 1.2 * reach)
    flat, turn = rng.uniform(size=2)
    outline = Blob(centre, (reach, reach * (0.75 + 0.5 * flat)), np.pi * turn)
    away, round_ = np.sqrt(rng.uniform(0, 0.85, GRAINS)), rng.uniform(0, 2 * np.pi, GRAINS)
    v, u = away * np.cos(round_) * outline.radii[0], away * np.sin(round_) * outline.radii[1]
    c, s = np.cos(outline.turn), np.sin(outline.turn)
    at_y, at_x = centre[0] + v * c - u * s, centre[1] + v * s + u * c
    uneven = rng.standard_normal(GRAINS)
    radius = 0.075 * np.exp(0.3 * uneven)
    # Grains appear one after the other as severity rises.
    shown = np.clip(8 + (GRAINS - 8) * severity - np.arange(GRAINS), 0, 1) * (0.7 + 0.5 * severity)
    # A pixel sees a grain through its aperture: a Gaussian of both widths with the grain's volume.
    pixel = field[0] / len(y)
    width = np.sqrt((0.6 * radius) ** 2 + (0.4 * pixel) ** 2)
    volume = 4 / 3 * np.pi * radius**3 * cb.MU_CALCIUM * shown
    down = np.exp(-0.5 * ((y - at_y) / width) ** 2) / width
    across = np.exp(-0.5 * ((x.T - at_x) / width) ** 2) / width
    grains = (down * volume / (2 * np.pi)) @ across.T
    return grains * (paths.inner > 0), cover(outline.distance(np.stack(np.broadcast_arrays(y, x))), 0.1)


LESIONS = {"mass": mass, "calcification": calcification}


def label(paths: Paths, lesion: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """The label map: what more than half of a pixel shows, the lesion on top."""
    labels = np.zeros(size, np.uint8)
    whole = paths.inner + paths.skin
    labels[pool((whole > 0).astype(np.float32), size) > 0.5] = STRUCTURES["fat"]
    labels[pool(paths.dense, size) > 0.5] = STRUCTURES["gland"]
    labels[pool(paths.muscle / np.maximum(paths.inner, 1e-3), size) > 0.31] = STRUCTURES["pectoral"]
    if lesion is not None:
        share = pool(lesion, size)
        labels[share >= min(0.5, share.max())] = STRUCTURES["lesion"]
    return labels


def processed(
    transmitted: np.ndarray, thinner: np.ndarray, thickness_cm: float, greys: tuple[float, float]
) -> np.ndarray:
    """From the detector's signal to greys: logarithm, peripheral equalisation, S-shaped display; air stays black.

    Args:
        thinner: optical depth of fat to add where the breast is thinner than `thickness_cm`.
        greys: of fat and of dense tissue.
    """
    depth = -np.log(transmitted)
    fat = cb.MU_FAT * thickness_cm
    shown = pj.display(depth + thinner, fat, fat + DENSE * (cb.MU_GLAND - cb.MU_FAT) * thickness_cm, greys)
    return shown * np.clip(depth / SKIN_SHOWS - 0.2, 0, 1)


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; separate random streams keep anatomy, acquisition and noise when a condition changes."""
    traits, anatomy, tissue, acquired, disease, noise = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(6)
    )
    conditions = draw_conditions(traits, CONDITIONS, overrides)
    shape = (size[0], size[1])
    breast = cb.draw_breast(anatomy, str(conditions["view"]), float(conditions["age_years"]))
    acquisition = draw_acquisition(acquired, breast, shape)
    fine = 2 if max(size) <= 128 else 1
    rows, columns = fine * shape[0], fine * shape[1]
    y = ((np.arange(rows) + 0.5) / rows * acquisition.field[0])[:, None]
    x = ((np.arange(columns) + 0.5) / columns * acquisition.field[1])[None]
    paths = cb.image_breast(tissue, breast, str(conditions["density"]), y, x)

    healthy = paths.optical_depth()
    diseased, lesion = healthy, None
    if conditions["pathology"] != "normal":
        render = LESIONS[str(conditions["pathology"])]
        added, lesion = render(disease, breast, paths, acquisition.field, float(conditions["severity"]), y, x)
        diseased = healthy + added
    # Scatter and equalisation are those of the healthy breast, so that a lesion changes its own rays alone.
    scatter = pj.scattered(healthy.astype(np.float32), SCATTER_BREADTH, SCATTER)
    seen = pj.detected((pj.transmission(diseased) + scatter).astype(np.float32), shape)
    exposure = acquisition.photons_per_cm2 * acquisition.field[0] * acquisition.field[1] / (shape[0] * shape[1])
    thinner = EQUALISED * cb.MU_FAT * (breast.thickness_cm - paths.inner) * (paths.inner > 0)
    counted = pj.noisy(seen, exposure, noise)
    voxels = processed(counted, pool(thinner, shape), breast.thickness_cm, acquisition.greys)
    labels = label(paths, lesion, shape)
    if conditions["side"] == "right":
        voxels, labels = voxels[:, ::-1], np.ascontiguousarray(labels[:, ::-1])
    return PhantomImage(
        np.ascontiguousarray(np.clip(voxels, 0, 1)[None].astype(np.float32)),
        labels,
        conditions | measure_lesion(labels, STRUCTURES["lesion"]),
    )


MAMMOGRAPHY = Phantom("mammography", CONDITIONS, STRUCTURES, draw)
