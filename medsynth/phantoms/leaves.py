"""Images of no body part, to begin training with: leaves of every size that cover or shine through one another.

The dead leaves model (Lee, Mumford & Huang 2001) has statistics that images of many kinds share: edges and occlusion,
the same at every scale. A network that takes noise from such images takes it from others too (Achddou, Gousseau &
Ladjal 2021). Beside them: the dark surround of a scan, curves as of vessels and bones, textures, blur, speckle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from medsynth.phantoms.phantom import Conditions, Phantom, PhantomImage
from medsynth.phantoms.shapes import Blob, cover, places, to_line

LOOKS = ("opaque", "transparent", "speckled")
CONDITIONS: dict[str, dict[str, Any]] = {"look": {"kind": "categorical", "values": list(LOOKS)}}
STRUCTURES = {"body": 1}
RADII = (0.02, 0.45)  # of a leaf, as a share of the image's side
LEAVES = (8, 90)
CURVES = (0, 7)
POINTS = 24  # of a curve


def draw_leaves(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """An image; its leaves and curves are the same at any size, its textures are not."""
    shapes, grain = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    drawn: Conditions = {"look": LOOKS[shapes.integers(len(LOOKS))]}
    conditions = drawn | dict(overrides)
    transparent = conditions["look"] == "transparent"
    side = min(size)
    place = places(size)
    ends = np.array(size) / side
    textures = np.stack([_texture(grain, size, slope) for slope in shapes.uniform(0.8, 3.0, 3)])
    edge = max(1.0 / side, 10 ** shapes.uniform(-2.5, -1.2))  # how soft, as a share of the side
    strength = 10 ** shapes.uniform(-2.3, -0.9)  # of the textures

    image = np.full(size, shapes.uniform(0, 1)) + strength * textures[0]
    body = np.ones(size)
    if shapes.uniform() < 0.5:
        body = _cover(
            place, ends * shapes.uniform(0.42, 0.58, 2), shapes.uniform(0.3, 0.5, 2) * ends, shapes, edge, 0.1
        )
    count = int(np.exp(shapes.uniform(*np.log(LEAVES))))
    steep = shapes.uniform(0.5, 3.0)  # of the distribution of radii: many are small
    for _ in range(count):
        radius = _power_law(shapes, steep)
        axes = radius * np.exp(shapes.uniform(-0.7, 0.7) * np.array([1, -1]))
        covered = _cover(place, ends * shapes.uniform(-0.1, 1.1, 2), axes, shapes, edge, shapes.uniform(0, 0.35))
        slope = shapes.normal(0, 0.2, 2)
        texture = textures[shapes.integers(len(textures))]
        inside = strength * shapes.uniform(0, 2) * np.roll(texture, shapes.integers(side, size=2), (0, 1))
        inside = inside + np.tensordot(slope, place - 0.5, 1)
        if transparent:
            image = image + covered * (shapes.normal(0, 0.25) + inside)
        else:
            image = image + covered * (shapes.uniform(0, 1) + inside - image)
    for _ in range(int(shapes.integers(CURVES[0], CURVES[1] + 1))):
        covered = _curve(place, ends, shapes, edge)
        level = shapes.normal(0, 0.4)
        image = image + covered * (level if transparent else level + 0.5 - image)

    image = ndimage.gaussian_filter(image, side * 10 ** shapes.uniform(-3.0, -1.7))
    low, high = np.quantile(image[body > 0.5] if (body > 0.5).any() else image, [0.01, 0.99])
    image = ((image - low) / max(high - low, 0.4)).clip(-0.1, 1.1)
    floor, top = shapes.uniform(0, 0.35), shapes.uniform(0.6, 1)
    image = (floor + (top - floor) * image).clip(0, 1) ** np.exp(shapes.uniform(-0.7, 0.7))
    surround = shapes.choice([0.0, 0.0, shapes.uniform(0, 0.2)])
    image = surround + body * (image - surround)
    if conditions["look"] == "speckled":
        blobs = ndimage.gaussian_filter(grain.standard_normal(size), side * 10 ** shapes.uniform(-2.2, -1.6))
        image = 0.85 * image * (1 + shapes.uniform(0.05, 0.25) * blobs / max(blobs.std(), 1e-6))
    image = image + 10 ** shapes.uniform(-3, -1.7) * grain.standard_normal(size)
    labels = (body > 0.5).astype(np.uint8)
    return PhantomImage(image.clip(0, 1).astype(np.float32)[None], labels, conditions)


def _power_law(rng: np.random.Generator, steep: float) -> float:
    """A radius with density r^-steep between RADII."""
    low, high = (radius ** (1 - steep) if steep != 1 else np.log(radius) for radius in RADII)
    drawn = rng.uniform(min(low, high), max(low, high))
    return float(drawn ** (1 / (1 - steep)) if steep != 1 else np.exp(drawn))


def _cover(
    place: np.ndarray, centre: np.ndarray, axes: np.ndarray, rng: np.random.Generator, edge: float, wavy: float
) -> np.ndarray:
    """How much of each pixel a blob covers: 1 inside, 0 outside, `edge` wide; (*size)."""
    turn = rng.uniform(0, np.pi)
    waves = tuple((n, wavy / n * rng.normal(), rng.uniform(0, 2 * np.pi)) for n in range(2, 6))
    return cover(Blob((centre[0], centre[1]), (axes[0], axes[1]), turn, waves).distance(place), edge)


def _curve(place: np.ndarray, ends: np.ndarray, rng: np.random.Generator, edge: float) -> np.ndarray:
    """The same of a bent band through the image."""
    start, heading = ends * rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi)
    bends = np.cumsum(rng.normal(0, 0.25) + rng.normal(0, 0.1, POINTS))
    steps = 0.06 * np.stack([np.sin(heading + bends), np.cos(heading + bends)], 1)
    points = start + np.cumsum(steps, 0)
    width = 10 ** rng.uniform(-2.2, -1.2)
    return cover(to_line(place, points) - width, edge)


def _texture(rng: np.random.Generator, size: tuple[int, ...], slope: float) -> np.ndarray:
    """Gaussian noise whose amplitude falls as frequency to the power of `slope`; unit variance, periodic."""
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1]))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(size)) * frequency**-slope
    field = np.fft.irfft2(spectrum, size)
    return field / max(field.std(), 1e-9)


LEAVES_PHANTOM = Phantom(modality="mri", conditions=CONDITIONS, structures=STRUCTURES, draw=draw_leaves)
