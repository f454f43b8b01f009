"""Breast ultrasound: a section with a mass, a cyst or nothing, seen by a linear or a curved array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from medsynth.phantoms import echo
from medsynth.phantoms.breast_section import Lesion, draw_breast, draw_texture, image_breast, place_lesion
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.shapes import Blob, draw_waves, measure_lesion, pool

PATHOLOGIES = ("normal", "benign", "malignant", "cyst")
FIELDS = ("linear", "curved")
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "age_years": {"kind": "number", "range": [18.0, 90.0], "unit": "years"},
    "field": {"kind": "categorical", "values": list(FIELDS)},
    "depth_cm": {"kind": "number", "range": [3.0, 6.0], "unit": "cm"},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
STRUCTURES = {"skin": 1, "fat": 2, "gland": 3, "muscle": 4, "lesion": 5}
LABELS = {"skin": 1, "fat": 2, "gland": 3, "retromammary": 2, "muscle": 4}


@dataclass(frozen=True)
class Field:
    """Where beams run.

    Attributes:
        height_cm, width_cm: of the image.
        radius_cm: of a curved array, whose middle touches the top of the image; infinite for a linear one.
        meets: share of the height at which the last beam of a curved array leaves the image.
    """

    height_cm: float
    width_cm: float
    radius_cm: float
    meets: float

    @property
    def half_angle(self) -> float:
        """Between the middle beam and the last one."""
        return float(np.arcsin(self.width_cm / 2 / (self.radius_cm + self.meets * self.height_cm)))

    def places(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """y and x in cm, float32 (n, n), of n samples along n beams."""
        depth = ((np.arange(n, dtype=np.float32) + 0.5) / n * self.height_cm)[:, None]
        across = (np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1
        if np.isinf(self.radius_cm):
            return np.broadcast_to(depth, (n, n)).copy(), np.broadcast_to(across * self.width_cm / 2, (n, n)).copy()
        angle = across * np.float32(self.half_angle)
        return (self.radius_cm + depth) * np.cos(angle) - self.radius_cm, (self.radius_cm + depth) * np.sin(angle)

    def spread(self, depth: np.ndarray) -> np.ndarray:
        """Distance in cm between the first and the last beam at each depth."""
        if np.isinf(self.radius_cm):
            return np.full_like(depth, self.width_cm)
        return 2 * self.half_angle * (self.radius_cm + depth)

    def convert(self, beams: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
        """Scan conversion of (n, n) beams to pixels, 0 outside of the field; `order` of the interpolation."""
        n = len(beams)
        if np.isinf(self.radius_cm) and size == (n, n):
            return beams
        y = ((np.arange(size[0]) + 0.5) / size[0] * self.height_cm)[:, None]
        x = ((np.arange(size[1]) + 0.5) / size[1] - 0.5) * self.width_cm
        if np.isinf(self.radius_cm):
            depth, across = np.broadcast_arrays(y, 2 * x / self.width_cm)
        else:
            depth = np.hypot(y + self.radius_cm, x) - self.radius_cm
            across = np.arctan2(x, y + self.radius_cm) / self.half_angle
        outside = (np.abs(across) > 1) | (depth < 0) | (depth > self.height_cm)
        rows, columns = depth / self.height_cm * n - 0.5, (across + 1) / 2 * n - 0.5
        pixels = map_coordinates(beams, [rows, columns], order=order, mode="nearest")
        pixels[outside] = 0
        return pixels


def draw_field(rng: np.random.Generator, kind: str, depth_cm: float, size: tuple[int, int]) -> Field:
    radius, meets = float(rng.uniform(4.0, 9.0)), float(rng.uniform(0.35, 0.95))
    return Field(depth_cm, depth_cm * size[1] / size[0], radius if kind == "curved" else np.inf, meets)


def draw_scanner(rng: np.random.Generator, depth_cm: float) -> tuple[echo.Scanner, float, float]:
    """The scanner, its frequency in MHz, and the share of the attenuation that time gain makes up for."""
    pulse, beam, focus, gain, span, frequency, made_up = rng.uniform(-1, 1, 7)
    return (
        echo.Scanner(
            # A shallower field is scanned with a shorter pulse.
            axial_cm=(0.0027 + 0.0006 * pulse) * (depth_cm + 0.5),
            lateral_cm=(0.0048 + 0.0012 * beam) * (depth_cm + 0.5),
            focus_cm=depth_cm * (0.45 + 0.15 * focus),
            focal_zone_cm=1.6,
            looks=3,
            smoothing_cm=0.0022 * (depth_cm + 0.5),
            noise_db=-64.0,
            gain_db=-12.0 + 5 * gain,
            range_db=46.0 + 5 * span,
        ),
        float(7.5 + 1.5 * frequency),
        float(0.60 + 0.22 * made_up),
    )


def draw_lesion(rng: np.random.Generator, pathology: str, severity: float, field: Field) -> Lesion:
    """A lesion near the middle of the image.

    Benign masses are oval, parallel to the skin and smooth or gently lobulated, with a thin capsule; malignant ones
    taller than wide, angular to spiculated, with a halo and a shadow (Stavros et al. 1995, Radiology 196:123); cysts
    round and free of echoes, brighter behind. Severity makes every one darker; malignant ones more irregular.
    """
    size, aspect, turn, across, down, phase = rng.uniform(size=6)
    low = draw_waves(rng, 1.0, (2, 3, 4))
    high = draw_waves(rng, 1.0, (5, 7, 9, 11, 13))
    grain, specks = draw_texture(rng, 0.18, 0.22), draw_texture(rng, 0.09, 0.09)
    calcified = float(rng.uniform() < 0.35)
    radius = (0.18 + 0.65 * size**1.3) * (0.7 + 0.3 * field.height_cm / 4.5)
    depth = np.clip(0.22 + 0.28 * down, 1.15 * radius / field.height_cm + 0.08, 0.72) * field.height_cm
    room = max(float(field.spread(np.array([depth]))[0]) / 2 - 1.3 * radius, 0.05 * field.width_cm)
    x = (2 * across - 1) * 0.8 * room
    malignant, cyst = pathology == "malignant", pathology == "cyst"
    ratio = {"benign": 1.3 + 0.7 * aspect, "malignant": 0.8 + 0.5 * aspect, "cyst": 1.05 + 0.6 * aspect}[pathology]
    lobed = {"benign": 0.10 + 0.22 * severity, "malignant": 0.20 + 0.20 * severity, "cyst": 0.06}[pathology]
    waves = [(n, lobed * height, at) for n, height, at in low]
    if malignant:
        waves += [(n, (0.15 + 0.55 * severity) * height, at) for n, height, at in high]
    return Lesion(
        outline=Blob(
            (float(depth), float(x)),
            (radius / np.sqrt(ratio), radius * np.sqrt(ratio)),
            0.5 * (turn - 0.5),
            tuple(waves),
        ),
        ragged=radius * (0.05 + 0.10 * severity) if malignant else 0.0,
        halo=0.10 * severity if malignant else 0.0,
        echo_db={"benign": -13 - 9 * severity, "malignant": -12 - 12 * severity, "cyst": -14 - 24 * severity}[
            pathology
        ],
        attenuation={"benign": 0.55, "malignant": 0.9 + 0.8 * severity, "cyst": 0.35 - 0.3 * severity}[pathology],
        uneven_db=0.5 if cyst else 2.5 if malignant else 1.2,
        capsule=0.15 * (1 - severity) if malignant else 0.2 + 0.4 * phase,
        edge=0.05 + 0.08 * phase if malignant else 0.09,
        calcified=calcified if malignant else 0.0,
        grain=grain,
        specks=specks,
    )


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; separate random streams keep anatomy, scanner and speckle when a condition changes."""
    traits, anatomy, array, machine, disease, speckle = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(6)
    )
    conditions = draw_conditions(traits, CONDITIONS, overrides)
    shape = (size[0], size[1])
    field = draw_field(array, str(conditions["field"]), float(conditions["depth_cm"]), shape)
    scanner, frequency, made_up = draw_scanner(machine, field.height_cm)
    breast = draw_breast(anatomy, float(conditions["age_years"]))

    n = echo.COARSE if max(size) <= echo.COARSE // 2 else echo.FINE
    step = field.height_cm / n
    y, x = field.places(n)
    healthy = image_breast(breast, y, x)
    # Time gain is set for the healthy breast, so that a lesion changes the beams that meet it alone.
    gain = made_up * frequency * echo.travelled(healthy.attenuation.mean(1, keepdims=True), step)[:, 0]
    section, inside = healthy, None
    if conditions["pathology"] != "normal":
        lesion = draw_lesion(disease, str(conditions["pathology"]), float(conditions["severity"]), field)
        section, inside = place_lesion(healthy, lesion, y, x)
    poor = 14 * (1 - np.exp(-0.5 * np.maximum(breast.contact.at(np.zeros(n), x[0]) - 0.7, 0)))
    loss = frequency * echo.travelled(section.attenuation, step) + poor.astype(np.float32)
    depth = (np.arange(n) + 0.5) * step
    greys = echo.b_mode(
        speckle, scanner, section.echo_db, section.specular_db, gain, loss, field.height_cm, field.spread(depth)
    )

    numbers = np.array([LABELS[name] for name in section.layers], np.uint8)
    beams = numbers[np.argmax(np.stack(list(section.layers.values())), 0)]
    if inside is not None:
        beams[inside >= min(0.5, float(inside.max()))] = STRUCTURES["lesion"]
    fine = 2 if max(size) <= echo.FINE // 2 else 1
    voxels = pool(field.convert(greys, (fine * shape[0], fine * shape[1]), 1), shape)
    labels = field.convert(beams, shape, 0)
    return PhantomImage(
        np.clip(voxels, 0, 1)[None].astype(np.float32),
        labels.astype(np.uint8),
        conditions | measure_lesion(labels, STRUCTURES["lesion"]),
    )


ULTRASOUND = Phantom("ultrasound", CONDITIONS, STRUCTURES, draw)
