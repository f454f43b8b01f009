"""The trunk as CT sees it, of a few soft ellipsoids: a body with organs, perhaps with a lesion in the liver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medsynth.images.modalities import MODALITIES
from medsynth.phantoms.phantom import NOT_APPLICABLE, Phantom, PhantomImage, draw_conditions

PATHOLOGIES = ("normal", "lesion")
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
STRUCTURES = {"body": 1, "spine": 2, "left_kidney": 3, "right_kidney": 4, "liver": 5, "lesion": 6}
FIELD_MM = 320.0  # along each axis, whatever the number of voxels
AIR_HU, NOISE_HU = -1000.0, 12.0
LESION_HU = (30.0, -160.0)  # against the liver, of the least and the greatest severity: cysts and necrosis are dark
LESION_RADIUS_MM = (18.0, 36.0)

# Each organ of a middling patient, later ones over earlier ones: centre and half-axes in mm along (z, y, x), which
# point to the head, the front and the right; and CT number in HU.
ORGANS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float]] = {
    "body": ((0, 0, 0), (260, 105, 140), 20.0),
    "spine": ((0, -68, 0), (260, 24, 24), 350.0),
    "left_kidney": ((-45, -48, -62), (55, 25, 27), 160.0),
    "right_kidney": ((-55, -48, 62), (55, 25, 27), 160.0),
    "liver": ((45, 10, 48), (80, 72, 74), 95.0),
}
VARIATION = 0.08  # of sizes from patient to patient
SHIFT_MM = 7.0


def draw_ellipsoids(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """A patient's trunk. The patient and the lesion are drawn before any voxel, so that they are the same at any size.

    Args:
        size: voxels along (z, y, x), over FIELD_MM each.
    """
    patient, noise = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    conditions = draw_conditions(patient, CONDITIONS, overrides)
    spacing = np.array([FIELD_MM / extent for extent in size])
    places = [(np.arange(extent) + 0.5) * mm - FIELD_MM / 2 for extent, mm in zip(size, spacing, strict=True)]
    voxels, labels = np.full(size, AIR_HU, np.float32), np.zeros(size, np.uint8)
    build = 1 + VARIATION * patient.uniform(-1, 1)

    def add(name: str, centre: np.ndarray, axes: np.ndarray, hounsfield: float) -> None:
        cover = _cover(places, centre, axes, spacing)
        voxels[...] += cover * (np.float32(hounsfield) - voxels)
        labels[cover > 0.5] = STRUCTURES[name]

    for name, (middle, half_axes, hounsfield) in ORGANS.items():
        axes = build * np.array(half_axes) * (1 + VARIATION * patient.uniform(-1, 1, 3))
        centre = build * np.array(middle) + (name != "body") * SHIFT_MM * patient.uniform(-1, 1, 3)
        add(name, centre, axes, hounsfield + 10 * patient.uniform(-1, 1))

    # The lesion lies in the liver, drawn last above: its whole ball stays within the liver's axes.
    radius = float(patient.uniform(*LESION_RADIUS_MM))
    direction = patient.normal(size=3)
    direction *= patient.uniform() ** (1 / 3) / np.linalg.norm(direction)
    place = centre + direction * np.maximum(axes - 1.2 * radius, 0) * 0.8
    if conditions["pathology"] == "normal":
        conditions |= dict.fromkeys(("lesion_x", "lesion_y", "lesion_z", "lesion_size"), NOT_APPLICABLE)
    else:
        low, high = LESION_HU
        contrast = low + (high - low) * float(conditions["severity"])
        add("lesion", place, np.full(3, radius), ORGANS["liver"][2] + contrast)
        fractions = (place + FIELD_MM / 2) / FIELD_MM
        conditions |= dict(zip(("lesion_z", "lesion_y", "lesion_x"), fractions.tolist(), strict=True))
        conditions["lesion_size"] = 2 * radius / FIELD_MM
    voxels += NOISE_HU * noise.standard_normal(size, np.float32)
    low, high = MODALITIES["ct_volume"].limits
    return PhantomImage(voxels.clip(low, high)[None], labels, conditions, tuple(spacing.tolist()))


def _cover(places: list[np.ndarray], centre: np.ndarray, axes: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """How much of each voxel an ellipsoid covers: 1 inside, 0 outside, an edge about a voxel wide; float32 (*size)."""
    z, y, x = (((place - middle) / axis) for place, middle, axis in zip(places, centre, axes, strict=True))
    radius = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    edge = spacing.max() / axes.min()
    return np.clip(0.5 + (1 - radius) / edge, 0, 1).astype(np.float32)


ELLIPSOIDS = Phantom(
    modality="ct_volume",
    conditions=CONDITIONS,
    structures=STRUCTURES,
    draw=draw_ellipsoids,
    window=MODALITIES["ct_volume"].limits,
)
