"""The retinal circulation: arterioles and venules that leave the disc in arcades and branch over the retina.

Lengths are in mm on the retina, in the frame of a right eye as a camera sees it (see `retina`): the fovea at the
origin, x to the nose, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from medsynth.phantoms import projection as pj

WIDEST_VENULE = 0.082  # radius at the disc; the arteriole beside it has two thirds of it to four fifths
STEP = 0.25  # between the points that a branch grows by
AVASCULAR = 0.45  # radius about the fovea without vessels that a camera resolves
DAUGHTERS = (7, 4, 3)  # side branches of a trunk, of a side branch, of its branches
SHOWN = (np.inf, np.inf, np.inf, 0.08)  # mm: pixels that are larger do not resolve the generation
REACH = ((11.0, 15.0), (2.5, 8.0), (1.2, 4.0), (0.5, 1.6))  # shortest and longest branch of each generation


@dataclass(frozen=True)
class Branches:
    """Vessels of one generation.

    Attributes:
        points: complex (k, n), x + iy along the centre lines, evenly spaced on each.
        radius: (k, n), 0 where a vessel has ended.
        venous: bool (k,).
        nasal: bool (k,): of a trunk that leads to the nose.
    """

    points: np.ndarray
    radius: np.ndarray
    venous: np.ndarray
    nasal: np.ndarray


def grow(rng: np.random.Generator, disc: tuple[float, float], tortuosity: float, pixel: float) -> list[Branches]:
    """Trunks and up to three generations of side branches.

    At each fork the cubes of the radii add up (Murray 1926, PNAS 12:207).

    Args:
        disc: (x, y) of its centre.
        tortuosity: standard deviation in radians of the turns of a vessel about its way.
        pixel: in mm; what it cannot show is not grown, the rest is the same for any.
    """
    trunk, *forks = rng.spawn(len(REACH))
    middle = complex(*disc)
    generations = [_trunks(trunk, middle, tortuosity)]
    for order, stream in enumerate(forks, start=1):
        if pixel <= SHOWN[order]:
            generations[-1:] = _fork(stream, generations[-1], middle, order, tortuosity)
    return generations


def bead(generations: list[Branches], strength: float) -> list[Branches]:
    """Venules whose calibre swells and shrinks along their way, as a string of beads."""
    beaded = []
    for branches in generations:
        number, length = branches.radius.shape
        wave = 1 + strength * np.sin(1.9 * np.arange(length) + 3 * np.arange(number)[:, None])
        beaded.append(replace(branches, radius=branches.radius * np.where(branches.venous[:, None], wave, 1)))
    return beaded


def _trunks(rng: np.random.Generator, disc: complex, tortuosity: float) -> Branches:
    """An arteriole and a venule to each quadrant, and smaller ones straight to the macula and to the nose.

    The temporal ones bend as the parabolas of Foracchia et al. 2004 (IEEE Trans Med Imaging 23:1189), level at the
    height of their arcade.
    """
    count = 16
    venous, nasal, lower, small = (np.arange(count) >> bit & 1 == 1 for bit in range(4))
    up = np.where(lower, 1, -1)
    height = np.where(small, rng.uniform(0.5, 1.6, count), rng.uniform(3.0, 4.6, count))
    bend, aside = rng.uniform(0.6, 1.1, count), rng.normal(0, 0.25, count)
    lean = np.where(small, rng.uniform(1.2, 1.7, count), rng.uniform(0.6, 1.15, count))  # from upright, to the nose
    calibre = np.where(venous, 1.0, rng.uniform(0.66, 0.8, count)) * WIDEST_VENULE
    calibre = calibre * rng.uniform(0.85, 1.1, count) * np.where(nasal, 0.75, 1) * np.where(small, 0.38, 1)
    reach = rng.uniform(*REACH[0], count) * np.where(small, 0.45, 1)
    steps = int(REACH[0][1] / STEP)
    wander = _wander(rng, count, steps, tortuosity)
    points = np.empty((count, steps + 1), complex)
    points[:, 0] = disc + 0.12 + 0.08 * rng.normal(size=count) + 1j * (0.04 * up + 0.05 * rng.normal(size=count))
    across = np.where(nasal, 1, -1)
    for step in range(steps):
        gone = points[:, step] - disc
        far, risen = np.abs(gone), np.maximum(gone.imag * up, 0)
        share = np.where(nasal, np.minimum(far / 1.4, 1), (risen / height).clip(0, 1.12) ** bend)
        tilt = np.where(nasal, lean, np.pi / 2) * share + aside * np.exp(-far / 2.5) + wander[:, step]
        points[:, step + 1] = points[:, step] + reach / steps * (across * np.sin(tilt) + 1j * up * np.cos(tilt))
    ended = (np.abs(points) < AVASCULAR).cumsum(1) > 0
    along = np.arange(steps + 1)
    emerging = np.minimum(0.45 + 0.3 * along, 1)  # from the depth of the nerve
    taper = emerging * (1 - 0.25 * along / steps)
    return Branches(points, calibre[:, None] * taper * ~ended, venous, nasal)


def _fork(
    rng: np.random.Generator, parents: Branches, disc: complex, order: int, tortuosity: float
) -> tuple[Branches, Branches]:
    """The parents, thinner beyond each fork, and their daughters.

    Daughters on the side of the macula grow to the fovea or the raphe and end there, the others away from the disc.
    """
    (number, length), count, reaches = parents.radius.shape, DAUGHTERS[order - 1], REACH[order]
    at = (np.arange(count) + rng.uniform(0.1, 0.9, (number, count))) / count
    at = ((0.12 + 0.86 * at) * (length - 1)).astype(int)
    share = rng.beta(1.1, 2.2, (number, count)) * 0.85  # of the cube of the radius
    left = np.concatenate([np.ones((number, 1)), (1 - share).cumprod(1) ** (1 / 3)], 1)  # of the radius after forks
    passed = (np.arange(length)[:, None] > at[:, None]).sum(2)
    rows = np.arange(number)[:, None]
    calibre = (share ** (1 / 3) * left[:, :-1] * parents.radius[rows, at]).ravel()

    here = parents.points[rows, at].ravel()
    way = parents.points[rows, np.minimum(at + 1, length - 1)] - parents.points[rows, np.maximum(at - 1, 0)]
    side = np.where((np.arange(count) + rng.integers(2, size=(number, 1))) % 2, 1, -1)
    side = np.where(rng.uniform(size=(number, count)) < 0.2, -side, side)
    heading = (way / (np.abs(way) + 1e-9) * np.exp(1j * side * rng.uniform(0.6, 1.2, (number, count)))).ravel()
    reach = reaches[0] * (reaches[1] / reaches[0]) ** rng.uniform(size=number * count) * (0.6 + 0.8 * share.ravel())
    nasal = np.repeat(parents.nasal, count)
    inward = ~nasal & (((_raphe(here) - here) * heading.conj()).real > 0) & (here.real < disc.real - 0.5)
    source = np.where(nasal, disc, 0.4 * disc.real + 1j * disc.imag)
    upper = here.imag < 0
    steps = max(4, int(reaches[1] / STEP))
    turn = np.exp(1j * _wander(rng, number * count, steps, 1.5 * tortuosity)) * (reach / steps)[:, None]
    points = np.empty((number * count, steps + 1), complex)
    points[:, 0] = here
    for step in range(steps):
        here = points[:, step]
        aim = np.where(inward, _raphe(here) - here, here - source)
        heading = heading + 0.09 * aim / (np.abs(aim) + 1e-6)
        heading = heading / np.abs(heading)
        points[:, step + 1] = here + heading * turn[:, step]
    crossed = inward[:, None] & ((points.imag < 0) != upper[:, None])
    ended = (crossed | (np.abs(points) < AVASCULAR)).cumsum(1) > 0
    daughters = Branches(
        points, calibre[:, None] * np.linspace(1, 0.6, steps + 1) * ~ended, np.repeat(parents.venous, count), nasal
    )
    return replace(parents, radius=parents.radius * left[rows, passed]), daughters


def _raphe(place: np.ndarray) -> np.ndarray:
    """The nearest point of the line from the fovea away from the disc, at which upper and lower branches meet."""
    return np.minimum(place.real, 0)


def _wander(rng: np.random.Generator, count: int, steps: int, strength: float) -> np.ndarray:
    """Turns (count, steps) in radians: waves of 1 to 4 mm."""
    waves = np.exp(rng.uniform(np.log(1.0), np.log(4.0), (2, count)))
    phases = rng.uniform(0, 2 * np.pi, (2, count))
    heights = strength * rng.normal(size=(2, count))
    along = 2 * np.pi * STEP * np.arange(steps)
    return sum(
        height[:, None] * np.sin(along / wave[:, None] + phase[:, None])
        for wave, phase, height in zip(waves, phases, heights, strict=True)
    )


@lru_cache(maxsize=64)
def _refine(n: int, fine: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (fine, n) that carry n equidistant values to more by cubic splines and by straight lines."""
    at, knots = np.linspace(0, n - 1, fine), np.arange(n)
    return CubicSpline(knots, np.eye(n))(at), np.maximum(0, 1 - np.abs(at[:, None] - knots))


def render(
    generations: list[Branches], origin: tuple[float, float], pixel: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a camera sees through: blood along each ray in mm.

    Args:
        origin: (x, y) of the first pixel's centre.
        pixel: between pixel centres.
    Returns:
        thickness of arterial and of venous blood, and that of the arterioles' middle third, at which the column of
        blood mirrors the light; each float32 (*shape).
    """
    whole: dict[bool, list[pj.Tubes]] = {False: [], True: []}
    middle = []
    for order, branches in enumerate(generations):
        n = branches.points.shape[1]
        spline, line = _refine(n, max(n, 8 * int(np.ceil(1.1 * REACH[order][1] / pixel / 8))))
        for kind, tubes in whole.items():
            chosen = (branches.venous == kind) & (branches.radius[:, 0] > 0.09 * pixel)
            radius = branches.radius[chosen] @ line.T
            points = branches.points[chosen]
            x, y = points.real @ spline.T, points.imag @ spline.T
            points = np.stack([x, y, np.zeros_like(x)], -1)
            tubes.append(pj.tube(points, radius, radius, 1.0, _strands(radius, pixel)))
            if order < 2 and not kind:
                middle.append(pj.tube(points, 0.3 * radius, radius, 1.0, _strands(0.3 * radius, pixel)))
    arterial, venous, mirror = (pj.splat(tubes, origin, (pixel, pixel), shape) for tubes in (*whole.values(), middle))
    return arterial, venous, mirror


def _strands(radius: np.ndarray, pixel: float) -> int:
    return max(1, int(np.ceil(2.5 * radius.max(initial=0.0) / pixel)))
