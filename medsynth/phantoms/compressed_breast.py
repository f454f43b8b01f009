"""The breast between two plates: its outline, thickness, skin, pectoral muscle and parenchyma.

Places are in cm: x from the chest wall towards the nipple, y down from the top of the image. Rays are parallel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from medsynth.phantoms import fields
from medsynth.phantoms.shapes import cover

# Linear attenuation in 1/cm at 20 keV, about the mean of a 28 kV beam (Johns & Yaffe 1987, Phys Med Biol 32:675).
MU_FAT = 0.456
MU_GLAND = 0.802
MU_TUMOUR = 0.844
MU_MUSCLE = 0.80
MU_CALCIUM = 12.0  # of a grain, which is not solid hydroxyapatite throughout
DENSITIES = ("a", "b", "c", "d")
# Share of the breast's area that looks dense: within the quarters of BI-RADS, 4th edition.
DENSE_SHARE = {"a": 0.07, "b": 0.24, "c": 0.48, "d": 0.74}
FADING = 2.5  # standard deviations of the parenchyma's field over which gland turns into fat
POWER_LAW = 1.5  # the power spectrum falls with frequency cubed (Burgess et al. 2001, Med Phys 28:419)


@dataclass(frozen=True)
class Breast:
    """One breast as it was positioned.

    Attributes:
        view: craniocaudal ("CC") or mediolateral oblique ("MLO").
        height_cm: along the chest wall; reach_cm: from the chest wall to the nipple; thickness_cm: between the plates.
        top_cm: of the breast's upper end in the image.
        fullest: share of the height at which the nipple stands.
        fullness: exponent of the outline: 2 for an ellipse, more for a fuller breast.
        skin_cm: thickness of the skin.
        muscle: (width at the top, height) of the pectoral muscle, as shares of reach and height.
        subcutaneous_cm: of fat below the skin.
        involuted: 0 to 1, how far the gland has withdrawn towards the nipple.
        lean: of the parenchyma, up or down.
    """

    view: str
    height_cm: float
    reach_cm: float
    thickness_cm: float
    top_cm: float
    fullest: float
    fullness: float
    skin_cm: float
    muscle: tuple[float, float]
    subcutaneous_cm: float
    involuted: float
    lean: float

    @property
    def nipple(self) -> tuple[float, float]:
        """(y, x) in cm."""
        return self.top_cm + self.fullest * self.height_cm, self.reach_cm

    def edge(self, y: np.ndarray) -> np.ndarray:
        """x of the outline at each y; negative beyond the breast's ends."""
        along = (y - self.nipple[0]) / self.height_cm
        below, above = 1 - self.fullest, self.fullest
        lower = np.sqrt(np.maximum(1 - np.abs(np.clip(along, 0, None) / below) ** self.fullness, 0))
        if self.view == "CC":
            upper = np.sqrt(np.maximum(1 - np.abs(np.clip(along, None, 0) / above) ** self.fullness, 0))
        else:  # towards the armpit the outline runs on beyond the image
            upper = 1 - 0.62 * np.clip(-along / above, 0, 1.5) ** 1.8
        return self.reach_cm * np.where(along > 0, lower, upper) - 0.02

    def depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """About the distance in cm from the outline inwards, negative outside; y (rows, 1) and x (1, columns)."""
        edge = self.edge(y)
        step = 0.05
        slope = (self.edge(y + step) - self.edge(y - step)) / (2 * step)
        across = (edge - x) / np.sqrt(1 + np.clip(slope, -6, 6) ** 2)
        tip_y, tip_x = self.nipple
        nipple = 0.42 - np.hypot((y - tip_y) / 1.3, x - tip_x + 0.1)
        return np.maximum(across, nipple)

    def muscle_depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Distance in cm from the muscle's front inwards, negative outside of it and in CC views."""
        if self.view == "CC":
            return np.full(np.broadcast_shapes(y.shape, x.shape), -99.0)
        wide, tall = self.muscle[0] * self.reach_cm, self.muscle[1] * self.height_cm
        t = (y - self.top_cm) / tall
        front = wide * (1 - t + 0.35 * t * (1 - t))
        return (front - x) / np.sqrt(1 + (wide / tall) ** 2)


def draw_breast(rng: np.random.Generator, view: str, age_years: float) -> Breast:
    """The same breast in either view; both draw the same numbers."""
    size, shape, thick, place, full, skin, wide, tall, fat, lean = rng.uniform(-1, 1, 10)
    height = 15.0 + 3.5 * size
    oblique = view == "MLO"
    return Breast(
        view=view,
        height_cm=height * (1.1 if oblique else 1.0),
        reach_cm=height * (0.56 + 0.10 * shape),
        thickness_cm=5.2 + 1.5 * thick,
        top_cm=0.0 if oblique else height * 0.05,
        fullest=(0.60 if oblique else 0.50) + 0.06 * place,
        fullness=2.2 + 0.35 * full,
        skin_cm=0.16 + 0.05 * skin,
        muscle=(0.48 + 0.16 * wide, 0.60 + 0.18 * tall),
        subcutaneous_cm=0.75 + 0.4 * fat,
        involuted=float(np.clip((age_years - 35) / 50, 0, 1)),
        lean=float(lean),
    )


def chord(depth: np.ndarray, thickness: float) -> np.ndarray:
    """Length of rays through a body between plates whose free edge is a half circle, `depth` inside its outline."""
    radius = thickness / 2
    return 2 * np.sqrt(np.maximum(radius**2 - np.clip(radius - depth, 0, radius) ** 2, 0)) * (depth > 0)


@dataclass(frozen=True)
class Paths:
    """Lengths in cm of what each ray passes, (rows, columns).

    Attributes:
        fat, gland, muscle, skin: of each tissue.
        dense: share of the tissue between skin and skin that is gland.
        inner: of fat, gland and muscle together.
    """

    fat: np.ndarray
    gland: np.ndarray
    muscle: np.ndarray
    skin: np.ndarray
    dense: np.ndarray
    inner: np.ndarray

    def optical_depth(self) -> np.ndarray:
        return MU_FAT * self.fat + MU_GLAND * (self.gland + self.skin) + MU_MUSCLE * self.muscle


def ligaments(rng: np.random.Generator, breast: Breast, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Cooper's ligaments and ducts: thin strands that run from the nipple into the breast, 0 to about 1."""
    shape = np.broadcast_shapes(y.shape, x.shape)
    tip_y, tip_x = breast.nipple
    size, cells = (360, 64), (180, 12)
    bend = 0.05 * fields.smooth(rng, shape, 4)
    angle = np.arctan2(y - tip_y, tip_x + 1.5 - x) + bend  # 0 towards the chest wall
    radius = np.hypot(y - tip_y, tip_x + 1.5 - x)
    strands = np.maximum(fields.smooth(rng, size, cells) - 0.8, 0).astype(np.float32)
    along = map_coordinates(strands, [(angle / np.pi + 0.5) * size[0], radius / 18 * size[1]], order=1, mode="mirror")
    web = sum(np.maximum(1 - np.abs(fields.smooth(rng, shape, n)) / width, 0) for n, width in ((9, 0.10), (17, 0.20)))
    return 0.8 * along + 0.7 * web


def image_breast(rng: np.random.Generator, breast: Breast, density: str, y: np.ndarray, x: np.ndarray) -> Paths:
    """What rays pass at places y (rows, 1) and x (1, columns)."""
    shape = (len(y), x.shape[1])
    depth = breast.depth(y, x)
    outer, inner = chord(depth, breast.thickness_cm), chord(depth - breast.skin_cm, breast.thickness_cm - 0.3)
    muscle_depth = breast.muscle_depth(y, x)

    texture = fields.power_law(rng, shape, POWER_LAW, low=1.0)
    coarse = fields.smooth(rng, shape, 5)
    strands = ligaments(rng, breast, y, x)
    muscle = inner * (0.62 + 0.06 * coarse + 0.05 * texture).clip(0, 1) * cover(-muscle_depth, 0.5)
    tip_y, tip_x = breast.nipple
    # The gland is a cone that opens from the nipple; with age it withdraws from the back and the borders.
    back = np.hypot(
        (y - tip_y - 0.12 * breast.lean * (tip_x - x)) / (0.40 * breast.height_cm), (x - 0.62 * tip_x) / (0.55 * tip_x)
    )
    below_skin = np.minimum(depth - breast.skin_cm - breast.subcutaneous_cm, 2.0)
    score = (
        texture
        + 0.35 * coarse
        + 0.30 * strands
        + 0.9 * np.minimum(below_skin, 0.6)
        - (0.7 + 0.7 * breast.involuted) * back
    )
    breastlike = (depth > breast.skin_cm) & (muscle_depth < 0)
    level = np.quantile(score[breastlike], 1 - DENSE_SHARE[density])
    dense = cover(level - score, FADING)
    # Gland is mixed with fat along each ray; fat holds a web of strands.
    filled = dense * (0.60 + 0.13 * np.clip(texture, -2, 2)) + 0.07 * np.minimum(strands, 2) + 0.03 * (1 + coarse)
    filled = np.clip(filled, 0, 1) * cover(breast.skin_cm + 0.25 - depth, 0.4)
    rest = inner - muscle
    gland = rest * filled
    return Paths(rest - gland, gland, muscle, outer - inner, np.where(breastlike, dense, 0), inner)
