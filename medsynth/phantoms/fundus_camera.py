"""How a fundus camera sees the retina: its field, the light it throws, the media in between, its sensor and display."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np
from scipy.ndimage import gaussian_filter

from medsynth.phantoms.fields import octaves
from medsynth.phantoms.retina import LENS, Grid, soft

MM_PER_DEGREE = 0.293  # on the retina of an eye of 24 mm (Drasdo & Fowler 1974, Br J Ophthalmol 58:709)
CLOUDS = {3: 0.7, 7: 0.45}


@dataclass(frozen=True)
class Camera:
    """One photograph. Shares are of the radius of the field.

    Attributes:
        radius: of the field in mm; side: of the image's shorter side in mm.
        centre: (x, y) that it looks at, in mm from the fovea of a right eye.
        notch: a tab at the rim, as cameras mark their field with; 0 for none, else its angle.
        falloff: of the light to the rim; beam: (x, y) where it is brightest; rim_glow: at one side of the rim.
        blur: standard deviation in mm.
        veil: light from in front of the retina, as a share of the mean.
        gains: of the white balance.
        exposure: linear level of the ground in red; gamma and contrast of the display.
        noise: standard deviation at full signal in a pixel of 0.05 mm.
        black: the level of the surround.
    """

    radius: float
    side: float
    centre: tuple[float, float]
    notch: float
    falloff: float
    beam: tuple[float, float]
    rim_glow: float
    rim_angle: float
    blur: float
    veil: float
    gains: np.ndarray
    exposure: float
    gamma: float
    contrast: float
    noise: float
    black: float


def draw_camera(rng: np.random.Generator) -> Camera:
    n, u = rng.standard_normal(10).tolist(), rng.uniform(size=10).tolist()
    degrees = 46 + 4 * min(max(n[0], -2), 2)
    radius = degrees * MM_PER_DEGREE / 2
    cut = 1 - 0.16 * u[1] if u[0] < 0.3 else 1.01 + 0.08 * u[1] ** 2  # side of the image against the field's diameter
    between = u[2] < 0.3  # looks between the disc and the macula
    return Camera(
        radius=radius,
        side=2 * radius * cut,
        centre=((2.1 if between else 0.5) + 0.45 * n[1], 0.4 * n[2]),
        notch=(0.6 + 0.4 * u[4]) if u[3] < 0.2 else 0.0,
        falloff=0.25 + 0.75 * u[5] ** 1.5,
        beam=(0.22 * n[3], 0.22 * n[4]),
        rim_glow=0.35 * max(0.0, u[6] - 0.45) ** 1.2,
        rim_angle=2 * np.pi * u[7],
        blur=0.030 * exp(0.5 * n[5]),
        veil=0.06 * exp(0.5 * n[6]),
        gains=np.array([1.0, 0.92 * np.exp(0.17 * n[7]), 0.95 * np.exp(0.42 * n[8] + 0.25 * n[7])], np.float32),
        exposure=0.34 * exp(0.33 * n[9]),
        gamma=1.9 + 0.5 * u[8],
        contrast=0.15 * u[9],
        noise=0.006,
        black=0.012 * u[4],
    )


def look(camera: Camera, shape: tuple[int, int]) -> Grid:
    """Where the pixels of an image look, in the frame of a right eye."""
    pixel = camera.side / min(shape)
    y, x = ((np.arange(extent, dtype=np.float32) - (extent - 1) / 2) * np.float32(pixel) for extent in shape)
    return Grid(x + np.float32(camera.centre[0]), (y + np.float32(camera.centre[1]))[:, None], pixel)


def field_cover(camera: Camera, shape: tuple[int, int]) -> np.ndarray:
    """How much of each pixel lies in the field, (H, W)."""
    y, x = _plane(camera, shape)
    edge = max(0.008, camera.side / min(shape) / camera.radius)
    cover = soft(np.hypot(x, y) - 1, 0.7 * edge)
    if camera.notch:
        along = x * np.cos(camera.notch) - y * np.sin(camera.notch)
        across = x * np.sin(camera.notch) + y * np.cos(camera.notch)
        tab = np.maximum(np.maximum(np.abs(across) - 0.045, along - 1.055), 0.9 - along)
        cover = np.maximum(cover, soft(tab, 0.7 * edge))
    return cover


def photograph(
    rng: np.random.Generator,
    camera: Camera,
    colour: np.ndarray,
    sheen: np.ndarray,
    level: np.ndarray,
    lens: float,
    opacity: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The display's red, green and blue before noise, (3, H, W).

    Args:
        colour: reflectance (3, H, W) of the retina; sheen: (H, W) light that it mirrors.
        level: (3,) mean reflectance of the healthy ground, by which the exposure is chosen.
        lens: density at 450 nm, to base 10.
        opacity: of a cataract, 0 to 1.
    Returns:
        linear signal, and the light that falls on the sensor for a white retina, (H, W).
    """
    shape = colour.shape[1:]
    pixel = camera.side / min(shape)
    y, x = _plane(camera, shape)
    clouds = octaves(rng, shape, CLOUDS).astype(np.float32)
    cloudy = np.clip(opacity * (1 + 0.22 * clouds), 0, 1)

    def yellowed(density: float) -> np.ndarray:
        return 10 ** (-density * LENS)

    tint = yellowed(lens + 0.55 * opacity)
    level = level * yellowed(lens)
    gain = camera.gains * camera.exposure / level[0]
    beam = np.hypot(x - camera.beam[0], y - camera.beam[1])
    light = 1 / (1 + camera.falloff * beam**2) * (1 + 0.02 * clouds)
    seen = colour + sheen
    if (sigma := np.hypot(camera.blur, 0.16 * opacity**1.3) / pixel) > 0.25:
        seen = gaussian_filter(seen, (0, sigma, sigma), truncate=3, mode="nearest")
    signal = seen * tint[:, None, None] * light
    # Forward scatter spreads the light of the whole field, and what comes back from the media is whiter than it.
    whiteness = np.array([0.9, 0.9, 0.8], np.float32) * level[0]
    glow = 0.62 * level * tint / yellowed(lens) + np.array([0.16, 0.20, 0.16], np.float32) * whiteness
    loss = 0.80 * cloudy
    signal = signal * (1 - loss) + (0.80 * loss + 0.25 * camera.veil) * glow[:, None, None] * light
    lit = np.clip((x * np.cos(camera.rim_angle) + y * np.sin(camera.rim_angle)), 0, 1)
    rim = camera.rim_glow * soft(0.93 - np.hypot(x, y), 0.16) * lit**2
    signal = signal + rim * (whiteness * np.array([1.0, 0.6, 0.45], np.float32))[:, None, None]
    return signal * gain[:, None, None], light


def display(camera: Camera, signal: np.ndarray, cover: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Sensor noise, shoulder, gamma and the black surround; float32 (3, H, W) in [0, 1].

    Args:
        noise: standard normal (3, H, W).
    """
    pixel = camera.side / min(signal.shape[1:])
    sigma = camera.noise * 0.05 / pixel
    counted = np.maximum(signal + sigma * np.sqrt(np.maximum(signal, 0.002)) * noise, 0)
    rolled = np.where(counted > 0.5, 0.5 + 0.5 * np.tanh((counted - 0.5) / 0.5), counted)
    grey = rolled ** (1 / camera.gamma)
    grey = grey + camera.contrast * (3 * grey**2 - 2 * grey**3 - grey)
    return (camera.black + cover * (grey - camera.black)).clip(0, 1).astype(np.float32)


def _plane(camera: Camera, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """y (H, 1) and x (W,) from the middle of the field, as shares of its radius."""
    step = camera.side / min(shape) / camera.radius
    y, x = ((np.arange(extent, dtype=np.float32) - (extent - 1) / 2) * np.float32(step) for extent in shape)
    return y[:, None], x
