"""A section through the breast as ultrasound meets it: layers, fibres, lobules and ligaments, perhaps a lesion.

Places are in cm: y down from the skin, x across from the middle of the probe. Levels are in dB of the echo's amplitude
above that of glandular tissue, attenuation in dB/cm/MHz along one way (Duck 1990, Physical Properties of Tissue, ch. 4;
D'Astous & Foster 1986, Ultrasound Med Biol 12:795, for breast).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from medsynth.phantoms import fields
from medsynth.phantoms.shapes import Blob, cover

HEIGHT_CM, WIDTH_CM = 7.0, 12.0  # of the tissue that textures are drawn for
LAYERS = ("skin", "fat", "gland", "retromammary", "muscle")
ECHO_DB = {"skin": -8.0, "fat": -11.0, "gland": 0.0, "retromammary": -10.0, "muscle": -13.0}
ATTENUATION = {"skin": 0.7, "fat": 0.45, "gland": 0.75, "retromammary": 0.45, "muscle": 0.75}


@dataclass(frozen=True)
class Texture:
    """A smooth random field of the tissue, sampled `per_cm` along y and x."""

    values: np.ndarray
    per_cm: tuple[float, float]

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Values at places in cm; mirrored beyond the tissue drawn."""
        rows = np.asarray(y, np.float32) * np.float32(self.per_cm[0]) - np.float32(0.5)
        columns = (np.asarray(x, np.float32) + np.float32(WIDTH_CM / 2)) * np.float32(self.per_cm[1]) - np.float32(0.5)
        return map_coordinates(self.values, [rows, columns], order=1, mode="mirror")


def draw_texture(rng: np.random.Generator, down_cm: float, across_cm: float) -> Texture:
    """About unit variance; `down_cm` and `across_cm` between independent values."""
    cells = (round(HEIGHT_CM / down_cm), round(WIDTH_CM / across_cm))
    size = tuple(2 * n for n in cells)
    values = fields.smooth(rng, size, cells).astype(np.float32)
    return Texture(values, (size[0] / HEIGHT_CM, size[1] / WIDTH_CM))


@dataclass(frozen=True)
class Breast:
    """What one woman's section looks like.

    Attributes:
        floors: depth in cm of the lower border of each layer but the last, in the mean.
        scallop: height in cm and width in cm of the arches between ligaments, below the subcutaneous fat.
        bend, sway: how the layers and the fibres' directions bend.
        fibres, strands, lobes, patches: of the echoes' levels, and of the bright threads between.
        stromal: how bright the fibres of the gland are, and how much fat it holds, both 0 to 1.
        contact: Texture of the loss in dB beneath the probe, along its width.
        phase: of the arches.
    """

    floors: tuple[float, float, float, float]
    scallop: tuple[float, float]
    phase: float
    stromal: tuple[float, float]
    bend: Texture
    sway: Texture
    fibres: Texture
    strands: Texture
    lobes: Texture
    patches: Texture
    contact: Texture


def draw_breast(rng: np.random.Generator, age_years: float) -> Breast:
    """With age, fat takes the place of the gland."""
    skin, fat, gland, retro, height, width, phase, bright, fatty = rng.uniform(size=9)
    involution = np.clip((age_years - 25) / 50, 0, 1)
    floors = np.cumsum(
        [
            0.12 + 0.10 * skin,
            (0.25 + 1.0 * fat**1.5) * (0.7 + 0.6 * involution),
            (0.9 + 1.6 * gland) * (1.15 - 0.5 * involution),
            0.15 + 0.45 * retro,
        ]
    )
    return Breast(
        floors=(float(floors[0]), float(floors[1]), float(floors[2]), float(floors[3])),
        scallop=(0.05 + 0.40 * height, 0.9 + 1.4 * width),
        phase=float(phase),
        stromal=(0.2 + 0.8 * bright, float(np.clip(0.15 + 0.55 * fatty + 0.3 * involution, 0, 1))),
        bend=draw_texture(rng, 1.6, 2.2),
        sway=draw_texture(rng, 0.5, 0.8),
        fibres=draw_texture(rng, 0.075, 0.30),
        strands=draw_texture(rng, 0.035, 0.50),
        lobes=draw_texture(rng, 0.5, 1.1),
        patches=draw_texture(rng, 0.16, 0.36),
        contact=draw_texture(rng, 7.0, 0.5),
    )


@dataclass(frozen=True)
class Section:
    """What beams meet at each place, (rows, lines).

    Attributes:
        echo_db: of scatterers.
        specular_db: of smooth interfaces.
        attenuation: dB/cm/MHz.
        layers: share of each of LAYERS, in [0, 1].
    """

    echo_db: np.ndarray
    specular_db: np.ndarray
    attenuation: np.ndarray
    layers: dict[str, np.ndarray]


def interfaces(field: np.ndarray, thickness: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where a smooth field crosses zero, as lines of a given thickness in cm that show where they lie across the beam.

    Returns:
        0 to 1, (rows, lines).
    """
    down, across = np.gradient(field)
    # Beams are nearly parallel, so that the middle beam's steps serve all.
    middle = y.shape[1] // 2
    down *= np.float32(1 / (y[1, middle] - y[0, middle]))
    across *= 1 / (x[:, middle + 1] - x[:, middle])[:, None]
    down *= down
    steep = across * across + down + np.float32(1e-6)
    facing = down / steep
    return np.exp(-field * field / (steep * np.float32(thickness**2))) * (np.float32(0.25) + facing * facing)


def image_breast(breast: Breast, y: np.ndarray, x: np.ndarray) -> Section:
    """The healthy breast at places (rows, lines) in cm."""
    bend = 0.24 * breast.bend.at(y, x)
    sway = breast.sway.at(y, x)
    along_y, along_x = y + 1.5 * bend + 0.18 * sway, x + 0.15 * sway
    arch = np.abs(np.sin(np.pi * (along_x / breast.scallop[1] + breast.phase)))
    drops = (
        0.04 * bend,
        bend + breast.scallop[0] * (arch - 0.6),
        1.5 * bend + 0.05 * sway,
        1.2 * bend,
    )
    borders = [np.float32(floor) + drop for floor, drop in zip(breast.floors, drops, strict=True)]
    for i in range(1, 4):
        borders[i] = np.maximum(borders[i], borders[i - 1] + 0.02)
    below = [cover(border - y, 0.06) for border in borders]
    reached = [np.ones_like(below[0]), *below]
    shares = [here - further for here, further in zip(reached, [*below, np.zeros_like(below[0])], strict=True)]
    layers = dict(zip(LAYERS, (np.maximum(share, 0).astype(np.float32) for share in shares), strict=True))

    fibre, strand = breast.fibres.at(along_y, along_x), breast.strands.at(along_y + 0.5 * bend, along_x)
    lobe, patch = breast.lobes.at(y + bend, x), breast.patches.at(along_y, along_x)
    bright, fatty = breast.stromal
    islands = cover(1.5 - 1.6 * fatty - lobe - 0.5 * patch, 1.0)
    ducts = cover(1.35 - patch, 0.5)
    echo = {
        "skin": ECHO_DB["skin"] + 1.5 * patch,
        "fat": ECHO_DB["fat"] + 1.2 * fibre + 1.0 * lobe,
        "gland": ECHO_DB["gland"] + (1.6 + 1.6 * bright) * fibre + 1.5 * lobe - 10 * np.maximum(islands, ducts),
        "retromammary": ECHO_DB["retromammary"] + 2.0 * fibre,
        "muscle": ECHO_DB["muscle"] + 2.5 * fibre + 1.5 * lobe,
    }
    attenuation = sum(np.float32(ATTENUATION[name]) * share for name, share in layers.items())
    attenuation = attenuation + 0.6 * layers["gland"] * np.maximum(0.5 * lobe + 0.5 * patch, 0)

    broken = np.clip(0.45 + 0.55 * fibre, 0, 1.4)
    lobules = interfaces(lobe + 0.15 + 0.1 * patch, 0.014, y, x) * broken
    threads = np.clip(strand - 1.4, 0, 1.0)
    shine = (
        lobules * (2.2 * layers["fat"] + 0.5 * layers["gland"] + 0.7 * layers["retromammary"])
        + threads * (0.25 * layers["fat"] + (0.2 + 0.8 * bright) * layers["gland"] + 0.8 * layers["retromammary"])
        + threads * 0.6 * layers["muscle"]
    )
    for border, height in zip(borders, (1.0, 0.9, 0.7, 1.1), strict=True):
        shine = shine + height * broken * interfaces(y - border, 0.014, y, x)
    shine = shine + 1.6 * np.exp(-((y / 0.03) ** 2))
    return Section(
        echo_db=sum(echo[name] * share for name, share in layers.items()).astype(np.float32),
        specular_db=(20 * np.log10(np.maximum(shine, 1e-4)) - 8).astype(np.float32),
        attenuation=attenuation.astype(np.float32),
        layers=layers,
    )


@dataclass(frozen=True)
class Lesion:
    """A mass or a cyst.

    Attributes:
        outline: in cm.
        ragged: cm by which texture moves the outline.
        halo: cm of echogenic rim.
        echo_db, attenuation: of its inside, as Section has them.
        uneven_db: standard deviation of echo_db inside.
        capsule: height of the echo of its border where that lies across the beam.
        edge: cm over which it blends with its surroundings.
        calcified: share of its inside that holds specks of calcium.
    """

    outline: Blob
    ragged: float
    halo: float
    echo_db: float
    attenuation: float
    uneven_db: float
    capsule: float
    edge: float
    calcified: float
    grain: Texture
    specks: Texture


def place_lesion(section: Section, lesion: Lesion, y: np.ndarray, x: np.ndarray) -> tuple[Section, np.ndarray]:
    """The section with a lesion in it, and the share of each place that is lesion."""
    place = np.stack([y, x])
    grain = lesion.grain.at(y, x)
    distance = lesion.outline.distance(place).astype(np.float32) + np.float32(lesion.ragged) * grain
    inside = cover(distance, lesion.edge).astype(np.float32)
    rim = np.exp(-((np.maximum(distance, 0) / (lesion.halo + 1e-3)) ** 2)) * (1 - inside) * min(lesion.halo / 0.1, 1)
    specks = cover(3.2 - 1.4 * lesion.calcified - lesion.specks.at(y, x), 0.15) * inside * (lesion.calcified > 0)
    edge = interfaces(distance, 0.02, y, x) * lesion.capsule
    # Sound that grazes a smooth border is refracted away: a thin shadow below each flank.
    graze = np.exp(-((distance / 0.05) ** 2)) * cover(edge / max(lesion.capsule, 1e-3) - 0.25, 0.2) * lesion.capsule
    echo = section.echo_db * (1 - inside) + (lesion.echo_db + lesion.uneven_db * grain) * inside + 5 * rim + 10 * specks
    shine = 10 ** (section.specular_db / 20) * (1 - inside) + 0.8 * edge
    return replace(
        section,
        echo_db=echo.astype(np.float32),
        specular_db=(20 * np.log10(np.maximum(shine, 1e-5))).astype(np.float32),
        attenuation=(section.attenuation * (1 - inside) + lesion.attenuation * inside + 0.9 * graze + specks).astype(
            np.float32
        ),
    ), inside
