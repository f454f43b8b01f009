"""The head as an MRI volume: the MNI152 brain in its head, perhaps with a lesion, by the sequence's signal equation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medsynth.phantoms.bodies import draw_bumps
from medsynth.phantoms.head import (
    FROM_MM,
    SIDE_MM,
    STRUCTURES,
    TO_MM,
    Head,
    ball,
    draw_head,
    label,
    paint_head,
    pool,
    ragged,
    ramp,
    spot,
)
from medsynth.phantoms.mri import AGENTS, SEQUENCES, draw_scan, signals
from medsynth.phantoms.mri_scan import receive, scanned
from medsynth.phantoms.phantom import Phantom, PhantomImage, draw_conditions
from medsynth.phantoms.trunk import part_streams
from medsynth.phantoms.volume import Volume, finish

PATHOLOGIES = ("normal", "tumour", "white_matter_lesions")
CONDITIONS = scanned(PATHOLOGIES, SEQUENCES, 8.0, contrast_agent={"kind": "categorical", "values": list(AGENTS)})
MOST_PLAQUES = 24


def add_ageing(rng: np.random.Generator, volume: Volume, head: Head) -> np.ndarray:
    """Share of each part that is white matter bright in T2 by age: caps of the ventricles and scattered spots."""
    brain, z = head.brain, head.z
    core = np.exp(-(((np.abs(brain.x) - 20) / 12) ** 2) - ((np.abs(brain.y + 8) - 24) / 22) ** 2 - ((z - 20) / 14) ** 2)
    return ramp(volume, 2.9 - 2.2 * head.loss * (0.2 + core) - ragged(rng, volume), 0.8) * brain.white**2


def tumour(rng: np.random.Generator, volume: Volume, head: Head, severity: float) -> dict[str, np.ndarray]:
    """A growth with oedema along the white matter; the larger and the more necrotic, the more severe."""
    brain = head.brain
    radius = 6 + 18 * severity * rng.uniform(0.85, 1.15)
    place = spot(rng, head, 0.9 * radius)
    tall, bumps = rng.uniform(0.8, 1.2), draw_bumps(rng, 0.12, pitch=2.0)
    uneven = ragged(rng, volume)
    distance = ball(head, place, (radius, tall * radius, radius), bumps)
    mass = ramp(volume, distance + 0.10 * radius * uneven, 2.0) * ramp(volume, brain.outside + 1.5, 2.0)
    core = ramp(volume, distance + radius * (0.62 - 0.32 * severity + 0.14 * uneven), 4.0) * mass
    swell = ramp(volume, distance - radius * (0.25 + 0.8 * severity) + 0.22 * radius * uneven, 8.0)
    return {"oedema": swell * (brain.white + 0.25 * brain.grey) * (1 - mass), "tumour": mass, "necrosis": core}


def white_matter_lesions(
    rng: np.random.Generator, volume: Volume, head: Head, severity: float
) -> dict[str, np.ndarray]:
    """Plaques around the ventricles, more and larger when more severe."""
    brain = head.brain
    nearest = np.full(volume.values.shape, 1e3, np.float32)
    drawn = [(spot(rng, head, 14), rng.uniform(2.5, 6.0), rng.uniform(0.6, 1.7, 2)) for _ in range(MOST_PLAQUES)]
    for (x, y, z), radius, (long, tall) in drawn[: 1 + round((MOST_PLAQUES - 1) * severity)]:
        size = radius * (0.6 + 0.5 * severity)
        place = (0.75 * x, y, 0.75 * z + 5)
        np.minimum(nearest, ball(head, place, (size, long * size, tall * size)), out=nearest)
    return {"lesion": ramp(volume, nearest, 1.5) * np.clip(brain.white + 0.3 * brain.grey, 0, 1)}


LESIONS: dict[str, Callable[[np.random.Generator, Volume, Head, float], dict[str, np.ndarray]]] = {
    "tumour": tumour,
    "white_matter_lesions": white_matter_lesions,
}


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one patient; voxels along (z, y, x) over SIDE_MM across and FROM_MM to TO_MM of the template's height."""
    of = part_streams(seed)
    conditions = draw_conditions(of["traits"], CONDITIONS, overrides)
    scan = draw_scan(of["scan"], conditions)
    side = float(SIDE_MM / 10 * scan.field / 243)
    thickness = float(conditions["slice_thickness_mm"]) / 10
    middle = (-(FROM_MM + TO_MM) / 20, float(scan.shift[0]) / 20, float(scan.shift[1]) / 20)
    field = ((TO_MM - FROM_MM) / 10, side, side)
    fine = 2 if max(size) <= 64 else 1
    volume = Volume((size[0], fine * size[1], fine * size[2]), field, thickness, 0.0, middle)
    head = draw_head(of["anatomy"], volume, float(conditions["age_years"]))
    known = signals(scan)
    agent = conditions["contrast_agent"] == "gadolinium"
    # Flowing blood leaves no signal in the spin echoes; gadolinium shows it in T1.
    blood = known["blood"] if agent and scan.sequence == "t1" else known["grey"] if scan.sequence == "t1" else 0.05
    tissue = known | {
        "skin": known["muscle"],
        "gland": known["lesion"],
        "vitreous": known["fluid"],
        "blood": blood,
        "air": 0.0,
    }
    paint_head(of["organs"], volume, head, tissue, blood, 0.6 * known["marrow"] + 0.4 * known["bone"])
    volume.mix(add_ageing(of["texture"], volume, head), known["lesion"])
    lesion = None
    if conditions["pathology"] != "normal":
        parts = LESIONS[str(conditions["pathology"])](of["lesion"], volume, head, float(conditions["severity"]))
        for name, share in parts.items():
            volume.mix(share, known["enhanced" if agent and name == "tumour" else name])
        lesion = np.max([share for name, share in parts.items() if name != "oedema"], axis=0)
    seen = Volume(size, field, thickness, 0.0, middle)
    seen.values[...] = pool(volume.values, fine)
    seen.labels[...] = label(volume, head, fine)[:, None]
    brightest = max(known[name] for name in ("white", "grey", "fluid", "fat", "lesion"))
    voxels = receive(of["noise"], seen, seen.mean(), scan, brightest, known["white"])
    return finish(seen, voxels, conditions, None if lesion is None else pool(lesion, fine), STRUCTURES["lesion"])


BRAIN_MRI = Phantom("mri_volume", CONDITIONS, STRUCTURES, draw)
