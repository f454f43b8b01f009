"""A seeded torso in three dimensions: how it grows, and the frame that its organs lie in.

The frame is the patient's, in cm: x towards the patient's left (the right of the image), y downwards from the apex of
the lungs, z towards the front. Most lengths are shares of `width`, the inner width of the thorax at its widest, and of
`height`, from the apex of the lungs to the costophrenic angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TRAITS = ("width", "height", "depth", "cardiothoracic", "mediastinum", "knob", "rib_drop", "mineral")
# Inner width of the thorax in cm; height of the lungs, half-depth, heart, half-width of the upper mediastinum (with
# the thymus of an infant), radius of the aortic knob and fall of the ribs to the front, all as shares of the width;
# bone mineral as a share of a young adult's. Rounded by eye, except that the heart takes more than half of the thorax
# in the newborn (Edwards et al. 1981, AJR 136:907) and less than half in the adult (Danzer 1919, Am J Med Sci 157:513).
GROWTH = np.array(
    [  # age   width  height depth  heart  mediast knob   drop  mineral
        [0.0, 10.0, 0.78, 0.40, 0.58, 0.165, 0.025, 0.15, 0.45],
        [1.0, 13.5, 0.82, 0.38, 0.55, 0.135, 0.032, 0.17, 0.55],
        [3.0, 16.0, 0.88, 0.36, 0.52, 0.105, 0.038, 0.20, 0.66],
        [7.0, 19.5, 0.93, 0.34, 0.49, 0.092, 0.042, 0.22, 0.80],
        [12.0, 23.5, 0.97, 0.32, 0.46, 0.086, 0.046, 0.27, 0.90],
        [18.0, 28.0, 1.00, 0.31, 0.44, 0.082, 0.050, 0.30, 1.00],
        [45.0, 29.0, 0.97, 0.32, 0.46, 0.086, 0.057, 0.32, 0.98],
        [70.0, 29.0, 0.93, 0.34, 0.485, 0.094, 0.066, 0.35, 0.82],
        [100.0, 28.0, 0.90, 0.35, 0.51, 0.102, 0.072, 0.37, 0.65],
    ]
)
SPREAD = (0.05, 0.05, 0.05, 0.05, 0.10, 0.12, 0.15, 0.10)  # between patients of one age, as a share

# Outlines down the body: share of the height, then shares of half the width (lung) or of the width (body).
LUNG_AT = (0.0, 0.01, 0.03, 0.07, 0.15, 0.30, 0.50, 0.75, 0.92, 1.0)
LUNG_LATERAL = (0.30, 0.40, 0.50, 0.61, 0.74, 0.87, 0.95, 1.0, 0.985, 0.95)
LUNG_MEDIAL = (0.30, 0.21, 0.15, 0.11, 0.08, 0.07, 0.07, 0.07, 0.07, 0.07)
LUNG_DEPTH = (0.20, 0.28, 0.38, 0.48, 0.62, 0.82, 0.95, 1.0, 1.0, 0.98)
BODY_AT = (-0.7, -0.28, -0.18, -0.08, 0.02, 0.15, 0.40, 0.80, 1.4)
BODY_WIDTH = (0.20, 0.21, 0.28, 0.44, 0.56, 0.575, 0.57, 0.57, 0.56)
BODY_DEPTH = (0.52, 0.55, 0.55, 0.60, 0.74, 0.95, 1.13, 1.14, 1.02)


@dataclass(frozen=True)
class Torso:
    """One patient. Lengths in cm or shares of `width` as in GROWTH; angles in radians."""

    width: float
    height: float
    depth: float
    cardiothoracic: float
    mediastinum: float
    knob: float
    rib_drop: float
    mineral: float
    fat: float
    breast: float
    lean: float
    arm: float
    domes: tuple[float, float]
    gas: float
    heart_tilt: float
    taper: float
    tree: int

    @property
    def heart(self) -> tuple[float, float, float, float]:
        """Centre (x, y) and half extents (x, y) of the heart: a third of it right of the midline."""
        half = self.cardiothoracic * self.width / 2
        tall = half * np.sqrt(
            (np.sin(self.heart_tilt) ** 2 + 0.6 * np.cos(self.heart_tilt) ** 2)
            / (np.cos(self.heart_tilt) ** 2 + 0.6 * np.sin(self.heart_tilt) ** 2)
        )
        return 0.32 * half, self.domes[1] * self.height + 0.38 * half - tall, half, tall

    def edges(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance of a lung's lateral and medial edge from the midline, and its half-depth, in cm at heights y."""
        t = y / self.height
        half = self.width / 2
        return (
            half * np.interp(t, LUNG_AT, LUNG_LATERAL) * (1 - self.taper * np.clip(0.75 - t, 0, 0.6)),
            half * np.interp(t, LUNG_AT, LUNG_MEDIAL),
            self.depth * np.interp(t, LUNG_AT, LUNG_DEPTH),
        )


def draw_torso(rng: np.random.Generator, age_years: float, sex: str) -> Torso:
    """A patient of an age and sex. The draws do not depend on them, so that another age changes nothing else."""
    wobble = 1 + np.array(SPREAD) * np.clip(rng.standard_normal(len(TRAITS)), -2, 2)
    typical = [np.interp(age_years, GROWTH[:, 0], column) for column in GROWTH[:, 1:].T]
    trait = dict(zip(TRAITS, np.array(typical) * wobble, strict=True))
    maturity = float(np.clip((age_years - 10) / 8, 0, 1))
    female = sex == "female"
    width = trait["width"] * (1 - 0.09 * maturity * female)
    build, breast, lean, tilt, left, right, taper = rng.standard_normal(7)
    arm, gas = rng.uniform(size=2)
    return Torso(
        width=width,
        height=trait["height"] * width,
        depth=trait["depth"] * width,
        cardiothoracic=trait["cardiothoracic"],
        mediastinum=trait["mediastinum"],
        knob=trait["knob"],
        rib_drop=trait["rib_drop"],
        mineral=trait["mineral"] * (1 - 0.1 * maturity * female),
        fat=width * 0.03 * np.exp(0.55 * build) * (1 + 0.4 * maturity * female),
        breast=float(female) * np.clip((age_years - 11) / 6, 0, 1) * np.exp(0.3 * breast),
        lean=float(np.clip(0.03 * lean, -0.07, 0.07)),
        arm=np.radians(20 + 60 * arm + 60 * (1 - maturity) * (arm > 0.5)),
        domes=(0.80 + 0.015 * right, 0.84 + 0.015 * left),
        gas=gas,
        heart_tilt=np.radians(38 - 14 * np.clip(1 - age_years / 4, 0, 1) + 4 * tilt),
        taper=float(np.clip(0.05 + 0.06 * taper, -0.05, 0.18)),
        tree=int(rng.integers(2**32)),
    )
