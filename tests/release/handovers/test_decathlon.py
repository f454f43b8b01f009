"""The list is loaded by MONAI alone, its images, label maps and conditions beside each other."""

import json
from pathlib import Path

import numpy as np
import pytest

from medsynth.release.release import release
from medsynth.verify.verify import verify
from tests.release.handovers.loaders import load
from tests.release.toys import as_files, make_samples, make_store, schema_of, volumes
from tests.verify.test_verify import seal

CLASSIFIED = """
from monai.data import load_decathlon_datalist
from monai.transforms import LoadImaged
entries = load_decathlon_datalist("dataset.json", is_segmentation=False)
loaded = [LoadImaged("image")(entry) for entry in entries]
print(json.dumps([[entry["sample_id"], entry["label"], entry["conditions"], list(entry["image"].shape),
    entry["image"].numpy().T.tolist()] for entry in loaded]))
"""
SEGMENTED = """
from monai.data import load_decathlon_datalist
from monai.transforms import LoadImaged
loaded = [LoadImaged(["image", "label"])(entry) for entry in load_decathlon_datalist("dataset.json")]
print(json.dumps([[entry["sample_id"], list(entry["image"].shape), entry["label"].numpy().T.tolist(),
    entry["image"].affine[:3, 3].tolist()] for entry in loaded]))
"""
LIST = {"handovers": ("decathlon",)}


def test_images_are_listed_with_the_number_of_their_class(tmp_path):
    samples = make_samples()
    samples["images"][0] = np.arange(6).reshape(1, 2, 3) * 257
    release(as_files(formats=("png",), **LIST), make_store(), **samples, out=tmp_path / "out")
    found = load(tmp_path / "out", CLASSIFIED, "monai")
    assert [(row[0], row[1]) for row in found] == [(f"toy-diffusion-{n:06d}", n % 2) for n in (0, 1, 3)]
    assert found[0][2] == {"pathology": "normal", "severity": -0.5}
    assert found[0][3] == [3, 2] and found[0][4] == [[0, 1, 2], [3, 4, 5]]  # MONAI's first axis is x
    whole = json.loads((tmp_path / "out/dataset.json").read_text())
    assert whole["labels"] == {"0": "normal", "1": "nodule"} and whole["synthetic"] is True
    assert (whole["licence"], whole["tensorImageSize"], whole["numTraining"]) == ("CC0-1.0", "2D", 3)
    assert verify(tmp_path / "out") == []


def test_volumes_are_listed_with_their_label_maps_and_those_without_apart(tmp_path):
    store, samples = volumes()
    store.info.structures = {"liver": 1, "lesion": 2}
    samples["rows"]["mask_of"] = ["3", "", "5", "6"]
    masks = np.random.default_rng(2).integers(0, 3, (4, 4, 3, 2), dtype=np.uint8)
    settings = as_files(formats=("nifti",), masks=True, **LIST)
    release(settings, store, **samples, out=tmp_path / "out", masks=masks)
    found = load(tmp_path / "out", SEGMENTED, "monai")
    assert [row[0] for row in found] == ["toy-diffusion-000000", "toy-diffusion-000003"]
    for sample_id, shape, labels, origin in found:
        assert shape == [2, 3, 4] and np.array_equal(labels, masks[int(sample_id[-6:])])
        np.testing.assert_allclose(origin, [-0.75, -2.25, -6])
    whole = json.loads((tmp_path / "out/dataset.json").read_text())
    assert whole["labels"] == {"0": "background", "1": "liver", "2": "lesion"} and whole["tensorImageSize"] == "3D"
    assert [entry["sample_id"] for entry in whole["unlabelled"]] == ["toy-diffusion-000001"]
    assert verify(tmp_path / "out") == []


def test_colours_are_channels_and_what_has_no_value_is_null(tmp_path):
    samples, store = make_samples(channels=3), make_store("fundus", channels=3)
    samples["rows"]["pathology"] = ["", "nodule", "normal", "nodule"]
    samples["rows"]["depth"] = ["1", "n/a", "", ""]
    store.info.condition_schema = schema_of(2, depth={"kind": "number", "range": [0, 2]})
    release(as_files(formats=("png",), **LIST), store, **samples, out=tmp_path / "out")
    whole = json.loads((tmp_path / "out/dataset.json").read_text())
    assert whole["modality"] == {"0": "red", "1": "green", "2": "blue"}
    assert [entry["conditions"]["pathology"] for entry in whole["unlabelled"]] == [None]
    assert [entry["conditions"]["depth"] for entry in whole["training"]] == [None, None]
    assert verify(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda whole: whole["training"].pop(), "lacks toy-diffusion-000003, which metadata.csv has"),
        (lambda whole: whole.pop("synthetic"), "does not say of itself that it is synthetic"),
        (
            lambda whole: whole["training"][0].update(image="x.png"),
            "toy-diffusion-000000: image is x.png, metadata",
        ),
        (lambda whole: whole["training"][0].update(label=1), "toy-diffusion-000000: label is nodule, metadata.csv has"),
        (lambda whole: whole["training"][0]["conditions"].update(severity=1), "severity is 1, metadata.csv has -0.5"),
        (lambda whole: whole.pop("labels"), "dataset.json: is no such list (KeyError: 'labels')"),
    ],
)
def test_verify_finds_what_is_not_that_of_the_table(tmp_path: Path, change, expected):
    release(as_files(formats=("png",), **LIST), make_store(), **make_samples(), out=tmp_path / "out")
    whole = json.loads((tmp_path / "out/dataset.json").read_text())
    change(whole)
    (tmp_path / "out/dataset.json").write_text(json.dumps(whole))
    seal(tmp_path / "out")
    assert any(expected in line for line in verify(tmp_path / "out")), verify(tmp_path / "out")
