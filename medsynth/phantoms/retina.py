"""The eye's ground: what each layer of the retina and the choroid absorbs, and the disc, in a right eye's frame.

The frame is that of a right eye as a camera sees it, in mm on the retina: the fovea at the origin, x to the nose (where
the disc lies), y down. Colours are red, green and blue at about 610, 540 and 450 nm, reflectances linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, sin

import numpy as np

from medsynth.phantoms.fields import octaves

# Absorption of whole blood (150 g/l of haemoglobin) per mm, to base e: tables of molar extinction by Prahl 1998
# (omlc.org/spectra/hemoglobin), averaged over a camera's bands; arterial blood is saturated to 0.97, venous to 0.60.
ARTERIAL = np.array([1.3, 28.0, 36.0], np.float32)
VENOUS = np.array([3.6, 27.0, 44.0], np.float32)
SCATTERED = np.array([0.03, 0.15, 0.22], np.float32)  # of the light, by blood itself: what no thickness takes away
MELANIN = np.array([0.68, 1.06, 2.0], np.float32)  # of 550 nm, falling as wavelength to the power of 3.5 (Jacques 1998)
CHOROIDAL_BLOOD = np.array([0.16, 1.25, 1.15], np.float32)  # to base e, twice through a choroid of middling thickness
MACULAR_PIGMENT = np.array([0.0, 0.02, 1.0], np.float32)  # of its peak at 460 nm
LENS = np.array([0.03, 0.16, 1.0], np.float32)  # of 450 nm
SCLERA = np.array([0.62, 0.56, 0.50], np.float32)
RIM = np.array([0.62, 0.22, 0.13], np.float32)
CUP = np.array([0.74, 0.47, 0.32], np.float32)
NERVE_FIBRES = np.array([0.9, 1.0, 1.0], np.float32)
DISC_RADII = (0.88, 0.95)  # mm across and down (Jonas et al. 1988, Invest Ophthalmol Vis Sci 29:1151)
TESSELLATION = {17: 0.7, 31: 0.6}
GRAIN = {5: 0.35, 19: 0.2, 41: 0.3, 73: 0.45, 131: 0.5}
DISC_REACH = 2.6  # mm about its middle in which disc and crescent lie
FIBRES = 300  # bundles about the disc


@dataclass(frozen=True)
class Grid:
    """Where pixels look: x (W,) and y (H, 1) in mm, and the distance between them."""

    x: np.ndarray
    y: np.ndarray
    pixel: float

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), len(self.x)

    def part(self, rows: slice, columns: slice) -> Grid:
        return Grid(self.x[columns], self.y[rows], self.pixel)

    @property
    def origin(self) -> tuple[float, float]:
        return float(self.x[0]), float(self.y[0, 0])

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """The rows and columns within `reach` mm of a place."""
        (left, top), (height, width) = self.origin, self.shape
        first, last = (int(np.floor((x + sign * reach - left) / self.pixel)) for sign in (-1, 1))
        above, below = (int(np.floor((y + sign * reach - top) / self.pixel)) for sign in (-1, 1))
        return (
            slice(min(max(above, 0), height), min(max(below + 2, 0), height)),
            slice(min(max(first, 0), width), min(max(last + 2, 0), width)),
        )


@dataclass(frozen=True)
class Eye:
    """One eye. Lengths in mm, densities to base 10 unless told otherwise.

    Attributes:
        disc: (x, y) of its centre; disc_radii across and down; disc_turn in radians.
        melanin: of the ground at 550 nm, there and back.
        choroid: blood, as a share of a middling choroid.
        tessellation: how much the choroid's vessels show between pigment, 0 to 0.5.
        fovea: how much darker the fovea is than the ground about it, 1 in the middle.
        macular_pigment, lens: at their peak.
        sheen: light that the nerve fibres and the inner limiting membrane mirror, a share of white.
        crescent: breadth of the bare zone beside the disc.
        cup_aside: (x, y) shift of the cup as a share of the room that it leaves.
        redness: of the rim: how much green and blue its capillaries take.
        rag: phase of the outlines' waves in radians.
        tortuosity: see `retinal_vessels.grow`.
    """

    disc: tuple[float, float]
    disc_radii: tuple[float, float]
    disc_turn: float
    melanin: float
    choroid: float
    tessellation: float
    fovea: float
    macular_pigment: float
    lens: float
    sheen: float
    crescent: float
    cup_aside: tuple[float, float]
    rag: float
    redness: float
    tortuosity: float


def draw_eye(rng: np.random.Generator, age_years: float) -> Eye:
    """An eye of an age; the draws do not depend on it.

    With age melanin of the pigment epithelium falls (Feeney-Burns et al. 1984, Invest Ophthalmol Vis Sci 25:195), the
    lens yellows (Pokorny et al. 1987, Appl Opt 26:1437), the sheen of the young fades, and the choroid's vessels show.
    """
    n, u = rng.standard_normal(15).tolist(), rng.uniform(size=4).tolist()
    age = (age_years - 20) / 60
    size = exp(0.09 * n[0])
    melanin = 0.38 * exp(0.50 * n[5]) * (1 - 0.22 * age)
    return Eye(
        disc=(4.6 + 0.22 * n[1], -0.35 + 0.2 * n[2]),
        disc_radii=(DISC_RADII[0] * size * exp(0.05 * n[3]), DISC_RADII[1] * size),
        disc_turn=0.2 * n[4],
        melanin=melanin,
        choroid=exp(0.22 * n[6]),
        tessellation=float(np.clip(u[0] ** 1.5 * (0.35 + 0.75 * age) * (0.3 / (melanin + 0.1)) ** 0.5, 0, 0.5)),
        fovea=exp(0.3 * n[7]),
        macular_pigment=0.45 * exp(0.4 * n[8]),
        lens=float(np.clip(0.30 + 0.38 * age + 0.06 * n[9], 0.1, 1.0)),
        sheen=0.055 * exp(0.6 * n[10] - 1.6 * max(age, -0.2)),
        crescent=max(0.0, 0.16 * n[11] + 0.12 * age),
        cup_aside=(-0.15 - 0.35 * u[1], 0.3 * (u[2] - 0.5)),
        rag=3 * n[12],
        redness=exp(0.22 * n[14]),
        tortuosity=0.17 * exp(0.3 * n[13]),
    )


def disc_radius(eye: Eye, grid: Grid, wave: float = 0.03) -> np.ndarray:
    """Distance from the disc's centre as a share of its edge's, (H, W)."""
    dx, dy = grid.x - eye.disc[0], grid.y - eye.disc[1]
    c, s = cos(eye.disc_turn), sin(eye.disc_turn)
    angle = np.arctan2(dy, dx)
    edge = 1 + wave * np.cos(3 * angle + 9 * eye.disc_turn) + wave * np.cos(2 * angle + eye.rag)
    return np.hypot((c * dx + s * dy) / eye.disc_radii[0], (c * dy - s * dx) / eye.disc_radii[1]) / edge


def cup_radius(eye: Eye, grid: Grid, cup_to_disc: float) -> np.ndarray:
    """The same from the cup's centre; below `cup_to_disc` is cup."""
    room = 1 - cup_to_disc
    shift = (eye.cup_aside[0] * room * eye.disc_radii[0], eye.cup_aside[1] * room * eye.disc_radii[1])
    moved = Grid(grid.x - shift[0], grid.y - shift[1], grid.pixel)
    return disc_radius(eye, moved)


def soft(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 where the distance is negative, 0 where positive, and smooth over `edge` on both sides."""
    t = np.clip(0.5 - distance / (2 * edge), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Ground:
    """Densities of the layers behind the retina's vessels, (H, W), and how they mirror light.

    Attributes:
        melanin: to base 10 at 550 nm.
        blood: as a share of a middling choroid.
        vessels: of the choroid, 0 to 1.
        macular: pigment, to base 10 at its peak.
        sheen: light that is mirrored in front of all of them.
    """

    melanin: np.ndarray
    blood: np.ndarray
    vessels: np.ndarray
    macular: np.ndarray
    sheen: np.ndarray

    def reflectance(self) -> np.ndarray:
        """(3, H, W) after Beer and Lambert, before the lens and without the sheen."""
        return reflectance(self.melanin, self.blood, self.macular)


def reflectance(melanin: np.ndarray, blood: np.ndarray, macular: np.ndarray) -> np.ndarray:
    exponent = np.float32(np.log(10)) * (MELANIN[:, None, None] * melanin + MACULAR_PIGMENT[:, None, None] * macular)
    return SCLERA[:, None, None] * np.exp(-exponent - CHOROIDAL_BLOOD[:, None, None] * blood)


def draw_ground(rng: np.random.Generator, eye: Eye, grid: Grid, fibre_loss: np.ndarray | float) -> Ground:
    """Pigment, the choroid's network, the macula and the nerve fibres.

    Args:
        fibre_loss: share of the nerve fibres that have gone, (H, W).
    """
    coarse, fine, fibres = rng.spawn(3)
    r2 = grid.x**2 + grid.y**2
    macula = np.exp(-r2 / (2 * 0.95**2))
    pit = np.exp(-r2 / (2 * 0.30**2))
    network = octaves(coarse, grid.shape, TESSELLATION).astype(np.float32)
    vessels = np.exp(-((network / 0.42) ** 2)).astype(np.float32)
    shown = eye.tessellation * (1 - 0.85 * macula)
    grain = octaves(fine, grid.shape, GRAIN).astype(np.float32)
    melanin = eye.melanin * np.exp(0.10 * grain) * (1 + shown * (0.55 - 1.0 * vessels))
    melanin = melanin + eye.fovea * (0.06 * macula + 0.10 * pit)
    blood = eye.choroid * (1 + 0.10 * grain * 0.5 + shown * (0.35 * vessels - 0.2))
    blood = blood + eye.fovea * (0.10 * macula + 0.28 * pit)
    # Fibres are thickest above and below the disc, and thin out with distance from it.
    dx, dy = grid.x - eye.disc[0], grid.y - eye.disc[1]
    away = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx + 0.10 * dy * dy)  # bent towards the raphe, as the arcades are
    knots = fibres.standard_normal(FIBRES + 1)
    knots[-1] = knots[0]
    striae = np.interp(angle, np.linspace(-np.pi, np.pi, FIBRES + 1), knots)
    bundle = np.sin(angle) ** 2 * np.exp(-away / 2.6) + 0.12
    mirrored = eye.sheen * bundle * (1 + 0.30 * striae.astype(np.float32) * np.exp(-away / 3)) * (1 - fibre_loss)
    ring = np.exp(-(((np.sqrt(r2) - 1.5) / 0.35) ** 2)) * 0.15 * eye.sheen  # of the macula's rim
    glint = np.exp(-r2 / (2 * 0.06**2)) * 1.6 * eye.sheen
    return Ground(
        melanin=np.maximum(melanin, 0.01).astype(np.float32),
        blood=np.maximum(blood, 0.1).astype(np.float32),
        vessels=vessels,
        macular=(eye.macular_pigment * np.exp(-np.sqrt(r2) / 0.5)).astype(np.float32),
        sheen=np.maximum(mirrored + ring + glint, 0).astype(np.float32),
    )


def add_disc(
    colour: np.ndarray, eye: Eye, grid: Grid, cup_to_disc: float, pallor: float, bare: np.ndarray, atrophy: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lay the disc with its crescent over the ground.

    Args:
        colour: (3, H, W) reflectance of the ground.
        pallor: of the rim, 0 to 1.
        bare: (3, H, W) what shows where the pigment epithelium is missing.
        atrophy: mm by which the crescent is broader than the eye's own.
    Returns:
        reflectance (3, H, W) and what of the disc covers each pixel, 0 to 1.
    """
    whole, near = colour, grid.window(*eye.disc, DISC_REACH)
    colour, bare, grid = colour[:, *near], bare[:, *near], grid.part(*near)
    rho = disc_radius(eye, grid)
    mean = sum(eye.disc_radii) / 2
    beside = (eye.disc[0] - grid.x) / (
        np.hypot(grid.x - eye.disc[0], grid.y - eye.disc[1]) + 1e-3
    )  # 1 on the temple's side
    breadth = (eye.crescent + atrophy) * (0.35 + 0.65 * beside) / mean
    crescent = soft(rho - 1 - np.maximum(breadth, 0), 0.06) * (breadth > 0.01)
    rag = 0.75 + 0.25 * np.cos(7 * np.arctan2(grid.y - eye.disc[1], grid.x - eye.disc[0]) + 2 * eye.rag)
    colour = colour + 0.75 * crescent * rag * (bare - colour)
    scleral = np.exp(-(((rho - 1.02) / 0.06) ** 2)) * 0.20
    colour = colour + scleral * (bare * 1.15 - colour)

    inside = soft((rho - 1) * mean, 0.11)
    across = np.clip((grid.x - eye.disc[0]) / eye.disc_radii[0], -1, 1)
    pale = np.clip(0.28 * pallor - 0.18 * across, -0.3, 1)  # the temple's side is paler: it has fewer fibres
    reddened = RIM / np.array([1, eye.redness, eye.redness], np.float32)
    rim = reddened[:, None, None] * (1 - pale) + CUP[:, None, None] * 0.92 * pale
    kappa = cup_radius(eye, grid, cup_to_disc)
    edge = 0.08 + 0.12 * (1 - cup_to_disc)
    cup = soft((kappa - cup_to_disc), edge)
    # Shade of the cup's nasal wall, and the pores of the lamina in the depth of a large cup.
    pores = np.sin(38 * grid.x + 3 * np.sin(9 * grid.y)) * np.sin(41 * grid.y + 3 * np.sin(8 * grid.x))
    deep = CUP[:, None, None] * (1 - 0.10 * cup_to_disc * np.clip(pores, 0, 1) * soft(kappa - 0.7 * cup_to_disc, 0.15))
    tissue = rim + cup * (deep - rim)
    tissue = tissue * (1 - 0.14 * np.clip((rho - 0.6) / 0.4, 0, 1))
    whole, cover = whole.copy(), np.zeros(whole.shape[1:], np.float32)
    whole[:, *near], cover[near] = colour + inside * (tissue - colour), inside
    return whole, cover


def through_blood(colour: np.ndarray, thickness: np.ndarray, absorption: np.ndarray) -> np.ndarray:
    """Light that passes blood of so many mm in front of a ground, (3, H, W)."""
    floor = SCATTERED[:, None, None]
    return colour * (floor + (1 - floor) * np.exp(-absorption[:, None, None] * thickness))
