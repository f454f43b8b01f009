import gallery
import numpy as np
import pytest
import yaml
from PIL import Image

from medsynth import config
from medsynth.errors import InputError
from medsynth.images.drawing import MARGIN, REAL, SYNTHETIC, TILE

SMALL = ["--size", "16", "--count", "90", "--images", "64", "--per-class", "2"]


TINY = {
    "judges": {"reader_epochs": 1, "planted_copies": 4},
    "model": {
        "parents": {"initial": "none"},
        "stages": [{"channels": [8]}],
        "sampler": {"steps": [2]},
        "tuning": {"candidates": 1, "images": 16},
    },
}


def arguments(tmp_path, *more: str) -> list[str]:
    return ["--out", str(tmp_path / "out"), "--picture", str(tmp_path / "gallery.png"), *more]


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_each_modality_has_a_row_of_each_kind_and_only_one_is_marked(tmp_path):
    grey = np.full((3, 1, 8, 8), 40000, np.uint16)
    colour = np.zeros((2, 3, 8, 8), np.uint16)
    colour[:, 0] = 65535
    path = tmp_path / "gallery.png"
    gallery.draw(path, [gallery.Part("grey", grey, grey), gallery.Part("red", colour, colour)], "title", "Synthetic.")
    with Image.open(path) as picture:
        assert picture.info["Disclaimer"] == "Synthetic."
        page = np.asarray(picture.convert("RGB")).astype(int)
    frame = MARGIN - 1  # the left side of the frames of the first column
    found = {name: (page[:, frame] == rgb(name)).all(-1) for name in (REAL, SYNTHETIC)}
    for rows in found.values():
        assert np.count_nonzero(np.diff(rows.astype(int)) == 1) == 2 and rows.sum() == 2 * (TILE + 2)
    assert np.flatnonzero(found[REAL])[0] < np.flatnonzero(found[SYNTHETIC])[0]  # above it
    for rows, marked in zip((found[REAL], found[SYNTHETIC]), (False, True), strict=True):
        bottom = np.flatnonzero(np.diff(rows.astype(int)) == -1)
        corners = page[bottom - 8, MARGIN + 3]  # where the mark stands
        assert (corners == rgb(SYNTHETIC)).all() if marked else not (corners == rgb(SYNTHETIC)).all(-1).any()
    middle = page[np.flatnonzero(found[REAL])[-1] - TILE // 2, MARGIN + TILE // 2]
    assert middle.tolist() == [255, 0, 0]


def test_columns_are_of_the_same_classes_in_turn_and_the_first_of_each():
    real, synthetic = np.array(list("abbacc")), np.array(list("ddccbbaa"))
    first, second = gallery.alike(real, synthetic, 5)
    assert "".join(real[first]) == "".join(synthetic[second]) == "abcab"
    assert first.tolist() == [0, 1, 4, 3, 2] and second.tolist() == [6, 4, 2, 7, 5]
    with pytest.raises(InputError, match="no class has both"):
        gallery.alike(real, np.array(["e"]), 5)


def test_the_examples_of_all_six_modalities_are_one_valid_configuration(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    args = gallery.parse(arguments(tmp_path, *SMALL, "--changes", str(tmp_path / "tiny.yaml")))
    values = gallery.merged(gallery.examples(), args)
    whole = config.parse(config.Config, values, "gallery")
    assert {dataset.modality for dataset in whole.datasets.values()} == {
        *("chest_xray", "ct", "fundus", "mammography", "mri", "ultrasound")
    }
    assert (whole.judges.reader_epochs, whole.judges.readers) == (1, 1)  # of the demo's judges, one key is changed
    assert {len(model.stages) for model in whole.models.values()} == {1}
    assert len(whole.runs()) == 6 and {model.training.images for model in whole.models.values()} == {64}
    for dataset in whole.datasets.values():
        assert dataset.size == (16, 16) and set(dataset.plan.request.counts.values()) == {2}
        assert dataset.source.count == 90
    as_written = gallery.merged(gallery.examples(), gallery.parse(arguments(tmp_path)))
    assert {tuple(dataset["size"]) for dataset in as_written["datasets"].values()} == {(64, 64)}
    assert {model["training"]["images"] for model in as_written["models"].values()} == {36000}


def test_other_models_of_one_name_are_refused(tmp_path):
    first, second, *_ = gallery.examples()
    second["models"] = {name: model | {"training": {"images": 1}} for name, model in second["models"].items()}
    with pytest.raises(InputError, match="two examples have another model diffusion"):
        gallery.merged([first, second], gallery.parse(arguments(tmp_path)))


def test_a_failed_workflow_is_one_line_and_leaves_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "examples", lambda: [{"datasets": {}, "models": {}, "seed": "none"}])
    with pytest.raises(InputError, match="the same command goes on from there"):
        gallery.main(arguments(tmp_path))
    assert not (tmp_path / "gallery.png").exists()


@pytest.mark.parametrize("key", ["size", "count", "images", "per-class", "cores"])
def test_bad_numbers_are_refused_in_one_line(key, tmp_path):
    with pytest.raises(InputError, match=f"--{key}: got '0', expected a whole number above 0"):
        gallery.parse(arguments(tmp_path, f"--{key}", "0"))


@pytest.mark.parametrize("text", ["[1]", "models: {}", "model: 3", "a: [", None])
def test_changes_that_are_none_are_refused_in_one_line(text, tmp_path):
    path = tmp_path / "changes.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(
        InputError, match=r"changes.yaml: (expected sections judges and model|cannot be read)"
    ) as caught:
        gallery.read_changes(path)
    assert "\n" not in str(caught.value)
