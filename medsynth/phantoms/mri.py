"""The brain MRI slice: tissues of a person's head, perhaps with a lesion, by the signal equation of the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsynth.phantoms.brain import Brain, atrophy, draw_brain, draw_spot
from medsynth.phantoms.fields import FINEST, smooth
from medsynth.phantoms.phantom import Conditions, Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.shapes import Blob, cover, draw_waves, measure_lesion, places, pool

PATHOLOGIES = ("normal", "tumour", "white_matter_lesions", "infarct")
SEQUENCES = ("t1", "t2", "pd", "flair")
AGENTS = ("none", "gadolinium")
SEXES = ("female", "male")
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "sequence": {"kind": "categorical", "values": list(SEQUENCES)},
    "contrast_agent": {"kind": "categorical", "values": list(AGENTS)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "age_years": {"kind": "number", "range": [18.0, 95.0], "unit": "years"},
    "sex": {"kind": "categorical", "values": list(SEXES)},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
STRUCTURES = {"grey_matter": 1, "white_matter": 2, "fluid": 3, "lesion": 4}
# Of gadolinium, per mmol/l and s: between the extracellular agents of Rohrer et al. 2005 (Invest Radiol 40:715); and
# mmol/l in an enhancing tumour, a typical value.
RELAXIVITY, UPTAKE = 4.5, 0.6

# Tissue: T1 in ms at 1.5 T and at 3 T, T2 in ms, proton density. Grey and white matter, fluid, fat and muscle at 1.5 T
# as BrainWeb's (Kwan et al. 1999, IEEE TMI 18:1085); at 3 T grey and white matter Wansapura et al. 1999 (JMRI 9:531),
# muscle Stanisz et al. 2005 (MRM 54:507), fat de Bazelaire et al. 2004 (Radiology 230:652); the others, and fluid at
# 3 T, are typical values.
TISSUES: dict[str, tuple[float, float, float, float]] = {
    "grey": (833, 1331, 83, 0.86),
    "white": (500, 832, 70, 0.77),
    "fluid": (2569, 4000, 329, 1.0),
    "fat": (350, 382, 70, 1.0),
    "muscle": (900, 1412, 47, 1.0),
    "marrow": (450, 550, 60, 0.55),
    "bone": (900, 1100, 10, 0.12),
    "tumour": (1150, 1600, 125, 0.92),
    "necrosis": (1900, 2600, 230, 0.97),
    "oedema": (1050, 1500, 130, 0.90),
    "lesion": (950, 1350, 140, 0.88),
    "infarct": (1150, 1600, 135, 0.92),
}


@dataclass(frozen=True)
class Scan:
    """How an image was taken.

    Attributes:
        sequence: one of SEQUENCES.
        tesla: 1.5 or 3.
        level: mm above the commissures.
        field: side of the image in mm.
        noise: standard deviation in each channel at 256 pixels, as a share of the white matter's signal.
        stretch: of each of repetition time, echo time and flip angle.
        shift: (down, right) of the head in the field, in mm.
    """

    sequence: str
    tesla: float
    level: float
    field: float
    noise: float
    stretch: tuple[float, float, float]
    shift: tuple[float, float]


def signal(scan: Scan, t1: float, t2: float, density: float) -> float:
    """The sequence's steady signal of a tissue (Haacke et al. 1999, chapters 8 and 18); times in ms.

    T1 is a spoiled gradient echo, T2 and PD spin echoes, FLAIR an inversion recovery that nulls fluid.
    """
    long, echo, flip = scan.stretch
    if scan.sequence == "t1":
        angle, e1 = np.radians(25 * flip), np.exp(-20 * long / t1)
        return float(density * np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1) * np.exp(-5 * echo / t2))
    if scan.sequence == "flair":
        repeat, fluid = 9000 * long, TISSUES["fluid"][int(scan.tesla > 2)]
        invert = fluid * np.log(2 / (1 + np.exp(-repeat / fluid)))
        recovered = 1 - 2 * np.exp(-invert / t1) + np.exp(-repeat / t1)
        return float(abs(density * recovered) * np.exp(-115 * echo / t2))
    repeat, wait = (4500, 95) if scan.sequence == "t2" else (2600, 18)
    return float(density * (1 - np.exp(-repeat * long / t1)) * np.exp(-wait * echo / t2))


def signals(scan: Scan) -> dict[str, float]:
    """The signal of every tissue, and of those that take up gadolinium as `enhanced` and `blood`."""
    at = int(scan.tesla > 2)
    known = {name: signal(scan, row[at], row[2], row[3]) for name, row in TISSUES.items()}
    for name, like, share in (("enhanced", "tumour", 1.0), ("blood", "grey", 1.5)):
        row = TISSUES[like]
        t1 = 1 / (1 / row[at] + share * UPTAKE * RELAXIVITY / 1000)
        known[name] = signal(scan, t1, row[2], row[3])
    return known


def draw_scan(rng: np.random.Generator, conditions: Conditions) -> Scan:
    level, zoomed, noise, *shift = rng.uniform(-1, 1, 5)
    tesla = 1.5 if rng.random() < 0.5 else 3.0
    stretch = 1 + 0.1 * rng.uniform(-1, 1, 3)
    head = 0.965 if conditions["sex"] == "female" else 1.0
    return Scan(
        sequence=str(conditions["sequence"]),
        tesla=tesla,
        level=20 + 30 * level,
        field=(243 + 20 * zoomed) / head,
        noise=0.045 * 2**noise * (1.4 if tesla < 2 else 1),
        stretch=(float(stretch[0]), float(stretch[1]), float(stretch[2])),
        shift=(5 * shift[0], 5 * shift[1]),
    )


def band(outside: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """1 where `outside` lies between two distances in mm, with soft borders."""
    return cover(low - outside, 0.7) * cover(outside - high, 0.7)


def head(rng: np.random.Generator, brain: Brain, of: Mapping[str, float], sinus: float) -> np.ndarray:
    """Signal (height, width) of a healthy head; `sinus` is the signal of blood in the sagittal sinus."""
    size = brain.grey.shape
    thick, soft = 5.5 + 1.2 * rng.standard_normal(), 4.5 + 1.5 * abs(rng.standard_normal())
    uneven = smooth(rng, size, 5)
    inner, outer = 1.2, np.clip(thick * (1 + 0.15 * uneven), 3, 11)
    skin = outer + np.clip(soft * (1 + 0.25 * smooth(rng, size, 6)), 2, 14)
    out = brain.outside
    image = of["grey"] * brain.grey + of["white"] * brain.white + of["fluid"] * brain.fluid
    image = image + of["bone"] * band(out, 0.0, outer)
    image += (of["marrow"] - of["bone"]) * band(out, inner + 0.8, outer - 1.6) * np.clip(0.8 + 0.4 * uneven, 0, 1)
    image += of["fat"] * band(out, outer, skin)
    # The temporal muscle lies on the skull's side, in front of the ear; fat lies over it.
    side = np.clip((np.abs(brain.x) - 40) / 12, 0, 1) * np.clip((brain.y + 45) / 15, 0, 1)
    image += (of["muscle"] - of["fat"]) * band(out, outer, outer + 0.65 * (skin - outer)) * side
    image += (of["muscle"] - of["fat"]) * band(out, skin - 1.6, skin)
    ends = Blob((-88.0, 0.0), (5.0, 4.0)).distance(np.stack([brain.y, brain.x]))
    return image + (sinus - image) * cover(ends, 1.5) * band(out, -9.0, 1.0)


def add_ageing(rng: np.random.Generator, brain: Brain, amount: float) -> np.ndarray:
    """Share (height, width) of white matter that is bright in T2: caps of the ventricles and scattered spots."""
    speckle = ragged_field(rng, brain)
    core = np.exp(-(((np.abs(brain.x) - 20) / 12) ** 2) - ((np.abs(brain.y + 8) - 24) / 22) ** 2)
    return cover(2.9 - 2.2 * amount * (0.2 + core) - speckle, 0.8) * brain.white**2


def ragged_field(rng: np.random.Generator, brain: Brain) -> np.ndarray:
    """(height, width) of unit variance: ragged borders, with detail down to about 5 mm."""
    size = brain.grey.shape
    return 0.75 * smooth(rng, size, 14) + 0.55 * smooth(rng, size, 26) + 0.37 * smooth(rng, size, 48)


def tumour(rng: np.random.Generator, brain: Brain, level: float, severity: float) -> dict[str, np.ndarray]:
    """A growth with oedema along the white matter; the larger and the more necrotic, the more severe."""
    radius = 6 + 17 * severity * rng.uniform(0.85, 1.15)
    x, y = draw_spot(rng, level, 0.9 * radius)
    place = np.stack([brain.y, brain.x])
    blob = Blob((y, x), (radius * rng.uniform(0.8, 1.2), radius), rng.uniform(0, np.pi), draw_waves(rng, 0.22))
    ragged = ragged_field(rng, brain)
    distance = blob.distance(place)
    within = cover(brain.outside + 1.5, 1.0)
    mass = cover(distance + 0.10 * radius * ragged, 1.2) * within
    core = cover(distance + radius * (0.62 - 0.32 * severity + 0.14 * ragged), 2.0) * mass
    swell = cover(distance - radius * (0.25 + 0.9 * severity) + 0.22 * radius * ragged, 4.0)
    return {"oedema": swell * (brain.white + 0.25 * brain.grey) * (1 - mass), "tumour": mass, "necrosis": core}


def white_matter_lesions(
    rng: np.random.Generator, brain: Brain, level: float, severity: float
) -> dict[str, np.ndarray]:
    """Plaques around the ventricles, more and larger when more severe."""
    total = np.zeros(brain.grey.shape)
    place = np.stack([brain.y, brain.x])
    spots = []
    for _ in range(16):
        x, y = draw_spot(rng, level, 14)
        spots.append((y, x, rng.uniform(2.2, 5.5), rng.uniform(1, 2.2), rng.uniform(0, np.pi), draw_waves(rng, 0.15)))
    for y, x, radius, tall, turn, waves in spots[: 1 + round(15 * severity)]:
        share = 0.6 + 0.5 * severity
        blob = Blob((y, 0.75 * x), (radius * tall * share, radius * share), turn, waves)
        total = np.maximum(total, cover(blob.distance(place), 1.0))
    return {"lesion": total * np.clip(brain.white + 0.3 * brain.grey, 0, 1)}


def infarct(rng: np.random.Generator, brain: Brain, level: float, severity: float) -> dict[str, np.ndarray]:
    """The territory of an artery's branch, wedge-like from the cortex inwards; larger when more severe."""
    radius = 8 + 24 * severity * rng.uniform(0.9, 1.1)
    x, y = draw_spot(rng, level, 4)
    blob = Blob((y, 1.05 * x), (radius, 0.75 * radius), np.arctan2(-x, y) + np.pi / 2, draw_waves(rng, 0.25))
    ragged = ragged_field(rng, brain)
    share = cover(blob.distance(np.stack([brain.y, brain.x])) + 0.12 * radius * ragged, 2.0)
    return {"infarct": share * (brain.grey + brain.white)}


LESIONS = {"tumour": tumour, "white_matter_lesions": white_matter_lesions, "infarct": infarct}


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; separate random streams keep anatomy, scan and noise when a condition changes."""
    traits, anatomy, skull, acquired, lesion, noise = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(6)
    )
    conditions = draw_conditions(traits, CONDITIONS, overrides)
    scan = draw_scan(acquired, conditions)
    at = (size[0], size[1])
    fine = 2 if max(size) <= 128 else 1
    grid = (fine * at[0], fine * at[1])
    middle = np.array(at).reshape(2, 1, 1) * scan.field / min(at) / 2 + np.array(scan.shift).reshape(2, 1, 1)
    age = float(conditions["age_years"])
    brain = draw_brain(anatomy, places(grid) * scan.field - middle, scan.level, age)
    of = signals(scan)
    agent = conditions["contrast_agent"] == "gadolinium"
    # Flowing blood leaves no signal in the spin echoes; gadolinium shows it in T1.
    sinus = of["blood"] if agent and scan.sequence == "t1" else of["grey"] if scan.sequence == "t1" else 0.05
    image = head(skull, brain, of, sinus)
    image += (of["lesion"] - image) * add_ageing(anatomy, brain, atrophy(age))
    labels = np.zeros(at, np.uint8)
    shares = [pool(share, at) for share in (brain.grey, brain.white, brain.fluid)]
    for name, share in zip(("grey_matter", "white_matter", "fluid"), shares, strict=True):
        labels[(share >= np.max(shares, axis=0)) & (share > 0.3)] = STRUCTURES[name]
    if conditions["pathology"] != "normal":
        parts = LESIONS[str(conditions["pathology"])](lesion, brain, scan.level, float(conditions["severity"]))
        for name, share in parts.items():
            enhances = agent and name == "tumour"
            image += share * (of["enhanced" if enhances else name] - image)
        parts.pop("oedema", None)
        share = pool(np.max(list(parts.values()), axis=0), at)
        labels[share >= min(0.5, share.max())] = STRUCTURES["lesion"]
    voxels = receive(
        noise, pool(image, at), scan, max(of[name] for name in ("white", "grey", "fluid", "fat", "lesion")), of["white"]
    )
    return PhantomImage(
        voxels[None].astype(np.float32),
        labels,
        conditions | measure_lesion(labels, STRUCTURES["lesion"]),
        (scan.field / min(at),) * 2,
    )


def receive(rng: np.random.Generator, image: np.ndarray, scan: Scan, brightest: float, white: float) -> np.ndarray:
    """What the coil receives: an uneven field, thermal noise in both channels, the magnitude (Rician), 0 to 1."""
    uneven = np.exp(0.05 * scan.tesla * smooth(rng, image.shape, 2) + 0.03 * smooth(rng, image.shape, 4))
    level = rng.uniform(0.68, 0.85)
    real, imaginary = (
        scan.noise * min(image.shape) / FINEST * white * rng.standard_normal(image.shape) for _ in range(2)
    )
    return np.clip(np.hypot(image * uneven + real, imaginary) / brightest * level, 0, 1)


MRI = Phantom("mri", CONDITIONS, STRUCTURES, draw)
