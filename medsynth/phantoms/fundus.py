"""The fundus photograph: the back of one eye in colour, perhaps with a disease of retina, nerve or lens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsynth.errors import InputError
from medsynth.phantoms import fundus_camera, retina, retinal_lesions, retinal_vessels
from medsynth.phantoms.phantom import Conditions, Phantom, PhantomImage
from medsynth.phantoms.retina import Eye, Grid
from medsynth.phantoms.retinal_lesions import Lesions
from medsynth.phantoms.shapes import measure_lesion, pool

PATHOLOGIES = ("normal", "diabetic_retinopathy", "glaucoma", "cataract", "amd")
SIDES = ("right", "left")
GRADES = ("0", "1", "2", "3", "4")
CONDITIONS: dict[str, dict[str, Any]] = {
    "pathology": {"kind": "categorical", "values": list(PATHOLOGIES)},
    "severity": {"kind": "number", "range": [0.0, 1.0]},
    "dr_grade": {"kind": "ordinal", "values": list(GRADES)},
    "cup_to_disc": {"kind": "number", "range": [0.1, 0.95]},
    "age_years": {"kind": "number", "range": [20.0, 90.0], "unit": "years"},
    "side": {"kind": "categorical", "values": list(SIDES)},
    "lesion": {"kind": "lesions", "severity": "severity"},
}
STRUCTURES = {
    "retina": 1, "fovea": 2, "arterioles": 3, "venules": 4, "disc": 5, "cup": 6, "dark_lesion": 7, "bright_lesion": 8,
}  # fmt: skip
LEAST_SEVERITY = 0.12  # of a patient drawn with a disease
FOVEA = 0.75  # radius in mm of what is labelled so: the fovea's 1.5 mm (Hogan et al. 1971)
WAXY = np.array([0.60, 0.40, 0.15], np.float32)  # reflectance of hard exudates
WOOL = np.array([0.52, 0.36, 0.24], np.float32)  # of swollen nerve fibres
DRUSEN = np.array([0.56, 0.28, 0.11], np.float32)
SCAR = np.array([0.50, 0.30, 0.16], np.float32)
PIGMENT = np.array([0.06, 0.03, 0.02], np.float32)
WHITE = np.array([1.0, 0.7, 0.45], np.float32)  # what an arteriole's column of blood mirrors


def draw_conditions(rng: np.random.Generator, overrides: Mapping[str, str | float]) -> Conditions:
    """Every class as likely; overrides take the place of draws without moving the others.

    The grade of diabetic retinopathy is a quarter of the severity each, 0 at severity 0; of the two the one that is
    set decides. A glaucoma's cup follows its severity unless it is set.

    Raises:
        InputError: a grade and a severity are set that do not agree.
    """
    drawn: Conditions = {
        "pathology": PATHOLOGIES[rng.integers(len(PATHOLOGIES))],
        "severity": float(rng.uniform(LEAST_SEVERITY, 1)),
        "dr_grade": GRADES[0],
        "cup_to_disc": float(0.18 + 0.4 * rng.beta(2, 2.2)),
        "age_years": float(rng.uniform(20, 90)),
        "side": SIDES[rng.integers(len(SIDES))],
    }
    conditions = drawn | dict(overrides)
    pathology = conditions["pathology"]
    if pathology == "normal":
        conditions["severity"] = 0.0
    if pathology == "diabetic_retinopathy":
        if "dr_grade" in overrides and "severity" not in overrides:
            within = float(drawn["severity"]) * 4 % 1
            rank = int(overrides["dr_grade"])
            conditions["severity"] = (rank - 1 + max(within, 0.01)) / 4 if rank else 0.0
        grade = GRADES[int(np.ceil(4 * float(conditions["severity"])))]
        if grade != overrides.get("dr_grade", grade):
            raise InputError(
                f"phantom fundus: dr_grade {overrides['dr_grade']} and severity {conditions['severity']:g}, "
                f"which is grade {grade}"
            )
        conditions["dr_grade"] = grade
    else:
        conditions["dr_grade"] = GRADES[0]
    if pathology == "glaucoma" and "cup_to_disc" not in overrides:
        healthy = float(drawn["cup_to_disc"])
        conditions["cup_to_disc"] = healthy + (0.93 - healthy) * float(conditions["severity"]) ** 0.7
    return conditions


@dataclass(frozen=True)
class Scene:
    """What is seen of an eye, in the frame of a right one, on a grid that is finer than the image or equal to it."""

    colour: np.ndarray
    sheen: np.ndarray
    level: np.ndarray
    arterial: np.ndarray
    venous: np.ndarray
    lesions: Lesions


def over(colour: np.ndarray, cover: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """Lay a paint (3,) or (3, H, W) over a colour (3, H, W) where it covers."""
    return colour + cover * (paint.reshape(3, *paint.shape[1:] or (1, 1)) - colour)


def compose(streams: list[np.random.Generator], eye: Eye, grid: Grid, conditions: Conditions, extent: float) -> Scene:
    """Layer upon layer, from the choroid to blood before the retina.

    Args:
        streams: of the ground, the vessels and the lesions.
        extent: radius of the field in mm.
    """
    ground_stream, vessel_stream, lesion_stream = streams
    pathology, severity = str(conditions["pathology"]), float(conditions["severity"])
    pallor, atrophy, lesions = 0.0, 0.0, retinal_lesions.nothing(grid.shape)
    loss: np.ndarray | float = 0.0
    if pathology == "glaucoma":
        loss = retinal_lesions.fibre_loss(lesion_stream, eye, grid, severity)
        pallor, atrophy = severity, 0.25 * severity
    elif pathology in retinal_lesions.DISEASES:
        lesions = retinal_lesions.DISEASES[pathology](lesion_stream, eye, grid, severity, extent)

    ground = retina.draw_ground(ground_stream, eye, grid, loss)
    colour = ground.reflectance()
    level = colour.mean((1, 2))
    bare = retina.reflectance(0.5 * ground.melanin, ground.blood * (0.35 + 0.5 * ground.vessels), 0 * ground.macular)
    layers = lesions.layers
    if pathology in retinal_lesions.DISEASES:
        colour = over(colour, 0.75 * layers["drusen"], DRUSEN)
        colour = over(colour, layers["atrophy"], bare)
        colour = over(colour, layers["scar"], SCAR)
        colour = over(colour, layers["pigment"], PIGMENT)
        colour = over(colour, layers["exudate"], WAXY)
    colour, disc = retina.add_disc(colour, eye, grid, float(conditions["cup_to_disc"]), pallor, bare, atrophy)

    vessels = retinal_vessels.grow(vessel_stream, eye.disc, eye.tortuosity, grid.pixel)
    if pathology == "diabetic_retinopathy" and severity > retinal_lesions.MODERATE:
        vessels = retinal_vessels.bead(vessels, 0.35 * (severity - retinal_lesions.MODERATE) / retinal_lesions.MODERATE)
    arterial, venous, mirror = retinal_vessels.render(vessels, grid.origin, grid.pixel, grid.shape)
    colour = retina.through_blood(colour, arterial, retina.ARTERIAL)
    colour = retina.through_blood(colour, venous, retina.VENOUS)
    colour = colour + np.minimum(mirror, 0.05) * WHITE[:, None, None]
    if pathology in retinal_lesions.DISEASES:
        colour = retina.through_blood(colour, lesions.blood, retina.VENOUS)
        colour = over(colour, layers["wool"], WOOL)
    return Scene(colour, ground.sheen * (1 - 0.7 * disc), level, arterial, venous, lesions)


def label(
    scene: Scene, eye: Eye, grid: Grid, cup_to_disc: float, field: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The label map: what covers more than half of a pixel of the field, later ones on top.

    Returns:
        labels of a right eye, uint8 (*size), and the largest lesion's pixels, bool (*size).
    """
    inside = pool(field, size) > 0.5
    labels = np.zeros(size, np.uint8)

    def mark(name: str, cover: np.ndarray, least: float = 0.5) -> None:
        labels[(pool(cover.astype(np.float32), size) > least) & inside] = STRUCTURES[name]

    labels[inside] = STRUCTURES["retina"]
    mark("fovea", np.hypot(grid.x, grid.y) < FOVEA)
    broad = 0.025  # mm of blood that shows as a vessel
    mark("arterioles", scene.arterial > broad)
    mark("venules", scene.venous > broad)
    disc, cup = np.zeros((2, *grid.shape), bool)
    near = grid.window(*eye.disc, retina.DISC_REACH)
    disc[near] = retina.disc_radius(eye, grid.part(*near)) < 1
    cup[near] = retina.cup_radius(eye, grid.part(*near), cup_to_disc) < cup_to_disc
    mark("disc", disc)
    mark("cup", cup)
    mark("bright_lesion", scene.lesions.bright, 0.35)
    mark("dark_lesion", scene.lesions.dark, 0.35)
    share = pool(scene.lesions.main, size)
    main = (share >= min(0.5, share.max())) & (share > 0) & inside
    bright = main & ~np.isin(labels, (STRUCTURES["dark_lesion"], STRUCTURES["bright_lesion"]))
    dark = scene.lesions.blood[scene.lesions.main > 0.5].mean() > 0.02 if (scene.lesions.main > 0.5).any() else True
    labels[bright] = STRUCTURES["dark_lesion" if dark else "bright_lesion"]
    return labels, main


def draw(seed: int, size: tuple[int, ...], overrides: Mapping[str, str | float]) -> PhantomImage:
    """Render one eye; separate random streams keep anatomy, camera and noise when a condition changes.

    A left eye is the mirror image of the right one; the camera's light is not mirrored.
    """
    traits, anatomy, ground, vessels, lesions, taken, media, noise = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(8)
    )
    shape = (size[0], size[1])
    conditions = draw_conditions(traits, overrides)
    eye = retina.draw_eye(anatomy, float(conditions["age_years"]))
    camera = fundus_camera.draw_camera(taken)
    fine = 2 if max(size) <= 128 else 1
    finer = (fine * size[0], fine * size[1])
    grid = fundus_camera.look(camera, finer)
    scene = compose([ground, vessels, lesions], eye, grid, conditions, camera.radius)
    cup_to_disc = float(conditions["cup_to_disc"])
    field = fundus_camera.field_cover(camera, finer)
    left = conditions["side"] == "left"
    labels, main = label(scene, eye, grid, cup_to_disc, field[:, ::-1] if left else field, shape)
    colour, sheen = scene.colour, scene.sheen
    if left:
        colour, sheen, labels, main = colour[..., ::-1], sheen[:, ::-1], labels[:, ::-1].copy(), main[:, ::-1]
    opacity = float(conditions["severity"]) if conditions["pathology"] == "cataract" else 0.0
    signal, _ = fundus_camera.photograph(media, camera, colour, sheen, scene.level, eye.lens, opacity)
    voxels = fundus_camera.display(
        camera, pool(signal, shape), pool(field, shape), noise.standard_normal((3, *shape), np.float32)
    )
    return PhantomImage(voxels, labels, conditions | measure_lesion(main.astype(np.uint8), 1))


FUNDUS = Phantom("fundus", CONDITIONS, STRUCTURES, draw)
