"""Line integrals of simple bodies, and the way from optical depth to a displayed radiograph.

Parallel rays run along z, from the tube behind the patient to the detector in front (a posteroanterior chest
radiograph, whose source stands about 1.8 m away). Lengths are in cm, attenuation coefficients in 1/cm.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np

# Linear attenuation at 50 keV, about the mean energy of a 75-85 kV beam: mass attenuation coefficients of the ICRU-44
# tissues (Hubbell & Seltzer, NIST SRDB 126, table 4) times the density beside each value, in g/cm^3.
MU_SOFT = 0.240  # 1.06
MU_FAT = 0.202  # 0.95
MU_LUNG = 0.059  # 0.26, inflated
MU_CORTICAL = 0.814  # 1.92

Triple = tuple[float, float, float]  # along x, y and z


class Chord(NamedTuple):
    """The stretch of z in which a ray is inside a body, one a pixel; empty (high below low) where it misses."""

    low: np.ndarray
    high: np.ndarray

    def length(self) -> np.ndarray:
        return np.maximum(self.high - self.low, np.float32(0))


def solid(inside: np.ndarray, depth: float | np.ndarray, z: float | np.ndarray = 0.0) -> Chord:
    """A body symmetric about the plane at z, z ± depth sqrt(inside), and empty where `inside` is not positive.

    With inside = 1 - (x/a)^2 - (y/b)^2 it is the ellipsoid of semi-axes a, b and depth.
    """
    half = np.asarray(depth, np.float32) * np.sqrt(np.maximum(inside, 0))
    np.copyto(half, -np.inf, where=inside <= 0)
    z = np.asarray(z, np.float32)
    return Chord(z - half, z + half)


def ellipsoid(x: np.ndarray, y: np.ndarray, centre: Triple, radii: Triple, tilt: float = 0.0) -> Chord:
    """The chord of an ellipsoid turned by `tilt` radians in the image plane (from x towards y)."""
    c, s = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u = (c * dx + s * dy) / np.float32(radii[0])
    v = (c * dy - s * dx) / np.float32(radii[1])
    return solid(1 - u * u - v * v, radii[2], centre[2])


def overlap(a: Chord, b: Chord) -> Chord:
    return Chord(np.maximum(a.low, b.low), np.minimum(a.high, b.high))


def hull(*parts: Chord) -> Chord:
    """The chord from the first entry to the last exit: the union of parts that touch along each ray."""
    return Chord(reduce(np.minimum, (part.low for part in parts)), reduce(np.maximum, (part.high for part in parts)))


def remaining(body: Chord, a: Chord, b: Chord) -> np.ndarray:
    """Length of `body` outside of a and b, by inclusion and exclusion."""
    in_a, in_b = overlap(body, a), overlap(body, b)
    taken = in_a.length() + in_b.length() - overlap(in_a, b).length()
    return np.maximum(body.length() - taken, 0)


class Tubes(NamedTuple):
    """Thin bodies as strands: points (n,) in cm, each with what it adds to the line integral times area, in cm^2."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


def tube(
    points: np.ndarray,
    radius: float | np.ndarray,
    depth: float | np.ndarray,
    mu: float | np.ndarray,
    strands: int,
) -> Tubes:
    """Strands that fill bent tubes of elliptic cross-section.

    A strand of length ds and width dw, with depth t along the ray when the tube lies in the image plane, adds
    mu t dw ds to the image, wherever it points: a tube that runs along the ray piles its strands up, which is why
    the ribs are bright where they turn round the flank.

    Args:
        points: (tubes, n, 3) along the centre lines.
        radius: half the width across the line in the image, broadcast to (tubes, n).
        depth: half the thickness, likewise.
        mu: attenuation above that of the surroundings, likewise.
        strands: lines across the width.
    """
    step = np.diff(points, axis=1, append=2 * points[:, -1:] - points[:, -2:-1])
    ds = np.sqrt((step**2).sum(-1))
    along = np.hypot(step[..., 0], step[..., 1]) + 1e-6
    normal = np.stack([-step[..., 1] / along, step[..., 0] / along])
    u = (np.arange(strands) - (strands - 1) / 2) * 2 / strands
    chord = np.sqrt(1 - u**2)
    chord /= chord.mean() / (np.pi / 4)
    offset = u * np.broadcast_to(radius, ds.shape)[..., None]
    area = 4 / strands * np.broadcast_to(radius, ds.shape) * depth
    weight = (mu * area * ds)[..., None] * chord
    x = points[..., 0, None] + normal[0][..., None] * offset
    y = points[..., 1, None] + normal[1][..., None] * offset
    return Tubes(x.ravel(), y.ravel(), weight.ravel())


def splat(tubes: list[Tubes], origin: tuple[float, float], spacing: tuple[float, float], shape: tuple[int, int]):
    """Line integrals (H, W) of strands: each point is shared among the four nearest pixel centres.

    Args:
        origin: (x, y) of the first pixel's centre in cm.
        spacing: (x, y) between pixel centres in cm.
    """
    x, y, weight = (np.concatenate(parts) for parts in zip(*tubes, strict=True))
    col, row = (x - origin[0]) / spacing[0], (y - origin[1]) / spacing[1]
    seen = (col > 0) & (row > 0) & (col < shape[1] - 1) & (row < shape[0] - 1)
    col, row, weight = col[seen], row[seen], weight[seen] / (spacing[0] * spacing[1])
    left, top = col.astype(np.int32), row.astype(np.int32)
    right_share, low_share = col - left, row - top
    corner = top * shape[1] + left
    image = np.zeros(shape[0] * shape[1])
    for drow, dcol in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (low_share if drow else 1 - low_share) * (right_share if dcol else 1 - right_share)
        image += np.bincount(corner + drow * shape[1] + dcol, weight * share, minlength=image.size)
    return image.reshape(shape).astype(np.float32)


@lru_cache(maxsize=64)
def gaussian(n: int, m: int, sigma: float) -> np.ndarray:
    """The matrix (m, n) that blurs n samples of a unit interval and reads them at m places, sigma in the interval.

    Rows add up to 1, which repeats the edge's neighbourhood outwards. Weights beyond 4 sigma are exactly zero, so
    that a change in one pixel stays local. A separable blur is two products: gaussian @ image @ gaussian.T.
    """
    distance = (np.arange(m)[:, None] + 0.5) / m - (np.arange(n)[None] + 0.5) / n
    weight = np.where(np.abs(distance) <= 4 * sigma, np.exp(-0.5 * (distance / sigma) ** 2), 0)
    matrix = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    matrix.setflags(write=False)
    return matrix


def transmission(depth: np.ndarray) -> np.ndarray:
    """Beer-Lambert: the share of photons that pass an optical depth, the integral of mu along the ray."""
    return np.exp(-depth)


def scattered(depth: np.ndarray, breadth: float, strength: float) -> np.ndarray:
    """Scattered photons that reach the detector behind the grid, as a share of the incident ones.

    Forward scatter as a blur of the scatter potential p exp(-p) (Ohnesorge et al. 1999, Eur Radiol 9:563): none from
    air, most from about one mean free path. At strength 0.12 somewhat more than half of what is detected behind an
    adult's mediastinum is scatter, as measured behind a 12:1 grid (Niklason et al. 1981, Med Phys 8:677).

    Args:
        depth: optical depth (H, W).
        breadth: standard deviation of the blur, as a share of the image.
    """
    rows, cols = (gaussian(n, n, breadth) for n in depth.shape)
    return strength * (rows @ (depth * transmission(depth)) @ cols.T)


def detected(photons: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Detector blur and pixel aperture: the mean signal of `size` pixels, from a grid at least as fine."""
    rows, cols = (gaussian(n, m, 0.4 / m) for n, m in zip(photons.shape, size, strict=True))
    return rows @ photons @ cols.T


def noisy(mean: np.ndarray, exposure: float, rng: np.random.Generator) -> np.ndarray:
    """Quantum noise, for a mean signal in shares of `exposure` incident photons on each pixel.

    Gaussian in place of Poisson: counts are above a hundred, and one noise field then serves any severity.
    """
    counted = mean + np.sqrt(mean / exposure) * rng.standard_normal(mean.shape, dtype=np.float32)
    return np.maximum(counted, 1 / exposure)


def display(depth: np.ndarray, dark: float, bright: float, greys: tuple[float, float]) -> np.ndarray:
    """The S-shaped display curve (DICOM PS3.3 C.11.2.1.3.1, SIGMOID) that sends two depths to two greys in (0, 1)."""
    low, high = (np.log(grey / (1 - grey)) for grey in greys)
    slope = (high - low) / (bright - dark)
    return 1 / (1 + np.exp(-(low + slope * (depth - dark))))
