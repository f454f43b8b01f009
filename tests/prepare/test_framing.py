"""What `fit: content`, `fit: optic_disc`, `window` and `laterality` make of the files of a table."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.artifacts.store import Store
from medsynth.config import PrepareSettings
from medsynth.phantoms.fundus import FUNDUS
from medsynth.prepare.prepare import prepare

SUBJECTS = 12
DISC = [FUNDUS.structures[name] for name in ("disc", "cup")]
CLASSES = {"kind": "categorical", "values": ["a", "b"]}


def store_of(folder, images: list[np.ndarray], masks: list[np.ndarray] | None = None, **settings) -> Store:
    rows = pd.DataFrame({"image": [f"{n}.png" for n in range(len(images))], "subject_id": range(len(images))})
    rows["pathology"] = ["a", "b"] * (len(images) // 2)
    for name, image in zip(rows["image"], images, strict=True):
        Image.fromarray(image).save(folder / name)
    if masks:
        rows["mask"] = [f"m{n}.png" for n in range(len(masks))]
        for name, mask in zip(rows["mask"], masks, strict=True):
            Image.fromarray(mask).save(folder / name)
    rows["lesion_x"], rows["lesion_y"], rows["lesion_size"] = 0.4, 0.5, 0.1
    rows.to_csv(folder / "t.csv", index=False)
    values = {
        "seed": 0,
        "dataset": "d",
        "data_root": str(folder),
        "source": {"kind": "table", "table": "t.csv", "duplicates": "report"},
        "modality": "mammography",
        "size": (16, 16),
        "fit": "pad",
        "conditions": {
            "pathology": {"kind": "categorical", "values": ["a", "b"]},
            "lesion": {"kind": "lesions"},
        },
        "label": "pathology",
        "split": {"train": 0.34, "val": 0.33, "test": 0.33},
    }
    prepare(PrepareSettings.model_validate(values | settings), folder / "store", 1)
    return Store.open(folder / "store")


@pytest.fixture
def breasts() -> list[np.ndarray]:
    """Half discs at the left edge, in every second image at the right one."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :60]
    images = []
    for number in range(SUBJECTS):
        inside = np.hypot(y - 40, x) < 30
        image = np.where(inside, rng.integers(120, 250, inside.shape), 0).astype(np.uint8)
        images.append(np.ascontiguousarray(image[:, ::-1]) if number % 2 else image)
    return images


def test_breasts_are_brought_to_one_side_with_their_masks_and_lesions(breasts, tmp_path):
    masks = [(image > 0).astype(np.uint8) for image in breasts]
    store = store_of(tmp_path, breasts, masks, laterality="left")
    stored = np.asarray(store.images[:, 0], float)
    assert (stored[..., :8].mean((1, 2)) > 2 * stored[..., 8:].mean((1, 2))).all()
    assert store.masks is not None and (store.masks[..., :8].mean((1, 2)) > store.masks[..., 8:].mean((1, 2))).all()
    places = store.samples.set_index(store.samples["subject_id"].astype(int))["lesion_x"].astype(float)
    assert (places[places.index % 2 == 0] < 0.5).all() and (places[places.index % 2 == 1] > 0.5).all()


def test_content_fills_the_stored_image(breasts, tmp_path):
    shares = {}
    for fit in ("pad", "content"):
        (tmp_path / fit).mkdir()
        stored = np.asarray(store_of(tmp_path / fit, breasts, fit=fit).images[:, 0])
        shares[fit] = (stored > 10_000).mean()
    # A half disc of radius 30 in a frame of 80 pixels, and in the square of 60 around it.
    assert shares["pad"] == pytest.approx(np.pi * 30**2 / 2 / 80**2, abs=0.03)
    assert shares["content"] == pytest.approx(np.pi * 30**2 / 2 / 60**2, abs=0.05)


def test_the_optic_disc_lies_in_the_middle_with_its_mask(tmp_path):
    eyes = [FUNDUS.render(seed, (96, 96)) for seed in range(SUBJECTS)]
    images = [np.ascontiguousarray(np.moveaxis(eye.voxels * 255, 0, -1).round().astype(np.uint8)) for eye in eyes]
    masks = [np.isin(eye.labels, DISC).astype(np.uint8) for eye in eyes]
    store = store_of(tmp_path, images, masks, fit="optic_disc", modality="fundus", conditions={"pathology": CLASSES})
    assert len(store) == SUBJECTS and store.masks is not None
    middle = store.masks[:, 7:9, 7:9].mean((1, 2))
    rim = store.masks[:, [0, -1]].mean((1, 2))
    assert (middle == 1).all() and rim.max() == 0


def test_a_photograph_without_a_disc_goes_to_quarantine(tmp_path):
    eyes = [FUNDUS.render(seed, (96, 96)).voxels for seed in range(SUBJECTS)]
    images = [np.ascontiguousarray(np.moveaxis(eye * 255, 0, -1).round().astype(np.uint8)) for eye in eyes]
    images[3] = np.full_like(images[3], 90)
    source = {"kind": "table", "table": "t.csv", "duplicates": "report", "max_bad_fraction": 0.2}
    store = store_of(
        tmp_path, images, fit="optic_disc", modality="fundus", conditions={"pathology": CLASSES}, source=source
    )
    (row,) = pd.read_csv(tmp_path / "store/quarantine.csv").to_dict("records")
    assert row["image"] == "3.png" and "no optic disc" in row["reason"] and len(store) == SUBJECTS - 1
