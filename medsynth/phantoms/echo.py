"""Pulse-echo imaging in beam coordinates: rows are depth, columns are scan lines.

Lengths are in cm, levels in dB of the echo's amplitude, attenuation in dB/cm along one way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medsynth.phantoms.projection import gaussian

FINE, COARSE = 256, 128  # scatterers along each axis: for more than 64 pixels, and for fewer


@dataclass(frozen=True)
class Scanner:
    """How echoes are made and shown.

    Attributes:
        axial_cm: standard deviation of the pulse's envelope along the beam.
        lateral_cm: of the beam's two-way profile, at its focus.
        focus_cm: depth of the focus.
        focal_zone_cm: distance from the focus at which the beam is wider by a factor of the root of 2.
        looks: steered frames whose envelopes are averaged (spatial compounding).
        smoothing_cm: standard deviation of the display's speckle filter.
        noise_db: electronic noise, before time gain.
        gain_db: added to every echo.
        range_db: dynamic range that the greys 0 to 1 show.
    """

    axial_cm: float
    lateral_cm: float
    focus_cm: float
    focal_zone_cm: float
    looks: int
    smoothing_cm: float
    noise_db: float
    gain_db: float
    range_db: float

    def beam_width(self, depth: np.ndarray) -> np.ndarray:
        """Standard deviation of the beam across, in cm: a Gaussian beam, narrowest at its focus."""
        return self.lateral_cm * np.sqrt(1 + ((depth - self.focus_cm) / self.focal_zone_cm) ** 2)


def amplitude(level_db: np.ndarray | float) -> np.ndarray:
    """The amplitude of a level."""
    return np.exp(np.asarray(level_db, np.float32) * np.float32(np.log(10) / 20))


def travelled(attenuation: np.ndarray, step_cm: float) -> np.ndarray:
    """Loss in dB (rows, lines) on the way to each depth and back, for attenuation in dB/cm at each place."""
    return 2 * step_cm * (np.cumsum(attenuation, 0) - attenuation / 2)


def draw_scatterers(rng: np.random.Generator, number: int) -> np.ndarray:
    """White complex noise (number, number) of unit power: many random echoes in each cell, by the central limit.

    The coarse grid holds the sums of the fine grid's cells, so that both show the same tissue.
    """

    def white(n: int) -> np.ndarray:
        return rng.standard_normal((n, 2 * n), dtype=np.float32).view(np.complex64) * np.float32(np.sqrt(0.5))

    coarse = white(COARSE)
    if number == COARSE:
        return coarse
    fine = white(FINE)
    rest = coarse / 2 - fine.reshape(COARSE, 2, COARSE, 2).mean((1, 3))
    return fine + rest.repeat(2, 0).repeat(2, 1)


def insonified(field: np.ndarray, scanner: Scanner, depth: np.ndarray, height_cm: float, width_cm: np.ndarray):
    """Convolve a complex field (rows, lines) with the pulse; unit white noise comes out with unit power.

    The beam's profile is a mixture of a narrow and a wide Gaussian that has the beam's variance at each depth.

    Args:
        depth: of each row.
        height_cm: depth that all rows cover.
        width_cm: distance that all lines cover, at each row's depth (a curved array's lines part).
    """
    n = len(field)
    share = np.maximum(scanner.beam_width(depth) / width_cm, 0.55 / n)
    ends = float(share.min()), float(max(share.max(), share.min() * 1.001))
    wide = ((share**2 - ends[0] ** 2) / (ends[1] ** 2 - ends[0] ** 2)).astype(np.float32)
    narrow_beam, wide_beam = (gaussian(n, n, round(end, 4)) for end in ends)
    down = gaussian(n, n, round(max(scanner.axial_cm / height_cm, 0.55 / n), 4))
    along = down @ field
    middle = (1 - wide)[:, None] * narrow_beam[n // 2] + wide[:, None] * wide_beam[n // 2]
    power = (down[n // 2] ** 2).sum() * (middle**2).sum(1)
    mixed = (1 - wide)[:, None] * (along @ narrow_beam.T) + wide[:, None] * (along @ wide_beam.T)
    return mixed / np.sqrt(power)[:, None]


def compressed(envelope: np.ndarray, range_db: float) -> np.ndarray:
    """Log compression: greys 0 to 1 for amplitudes from `range_db` below 1 up to 1."""
    level = 20 * np.log10(np.maximum(envelope, 1e-9))
    return np.clip(1 + level / range_db, 0, 1)


def b_mode(
    rng: np.random.Generator,
    scanner: Scanner,
    echo_db: np.ndarray,
    specular_db: np.ndarray,
    gain_db: np.ndarray,
    loss_db: np.ndarray,
    height_cm: float,
    width_cm: np.ndarray,
) -> np.ndarray:
    """Greys (rows, lines) of a frame.

    Diffuse scatterers have random phases, so that the envelope in an even tissue is Rayleigh-distributed (Burckhardt
    1978, IEEE Trans Sonics Ultrason 25:1): mean over standard deviation 1.91 for one look. Smooth interfaces
    reflect in phase and make unbroken lines.

    Args:
        echo_db: of the scatterers at each place; specular_db: of interfaces.
        gain_db: time gain at each row.
        loss_db: attenuation on the way to each place and back.
    """
    n = len(echo_db)
    depth = (np.arange(n) + 0.5) / n * height_cm
    total = (gain_db + scanner.gain_db)[:, None] - loss_db
    scattering, mirror = amplitude(echo_db + total), amplitude(specular_db + total)
    hiss = amplitude(scanner.noise_db + scanner.gain_db + gain_db)[:, None]
    # Echoes in phase add up by their number, those at random by its root: keep their ratio on any grid.
    mirror = mirror * np.float32(FINE / n)
    envelope = np.zeros((n, n), np.float32)
    for _ in range(scanner.looks):
        # Independent noises add by their powers; one draw then serves tissue and electronics.
        field = np.sqrt(scattering**2 + hiss**2) * draw_scatterers(rng, n) + mirror
        envelope += np.abs(insonified(field, scanner, depth, height_cm, width_cm))
    greys = compressed(envelope / scanner.looks, scanner.range_db)
    down, across = (
        gaussian(n, n, round(max(scanner.smoothing_cm / extent, 0.5 / n), 4))
        for extent in (height_cm, width_cm[n // 2])
    )
    return down @ greys @ across.T
