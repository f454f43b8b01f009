import json

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts import store
from medsynth.artifacts.store import Store, to_intensity, to_stored
from medsynth.config import PrepareSettings
from medsynth.errors import InputError
from medsynth.prepare.prepare import prepare

COUNT = 12


@pytest.fixture(scope="module")
def settings():
    return PrepareSettings(
        seed=0,
        dataset="demo",
        source={"kind": "phantom", "phantom": "chest_xray", "count": COUNT},
        modality="chest_xray",
        size=(16, 16),
        fit="pad",
        conditions={"sex": {"kind": "categorical", "values": ["female", "male"]}},
        label="sex",
        split={},
    )


@pytest.fixture
def folder(settings, tmp_path):
    prepare(settings, tmp_path / "demo")
    return tmp_path / "demo"


def test_other_conditions_of_the_same_images_are_another_store(settings, folder, tmp_path):
    fields = {"sex": {"kind": "ordinal", "values": ["female", "male"]}, "pathology": settings.conditions["sex"]}
    assert set(fields) != set(settings.conditions)
    info = Store.open(folder, verify=True).info
    for change in ({"conditions": fields}, {"modality": "ultrasound"}, {"structures": {}}):
        other = type(info).model_validate(info.model_dump() | change)
        assert store.digest(folder, other) != info.digest
    assert store.digest(folder, info.model_copy(update={"rows_in": 99, "dataset": "x"})) == info.digest


def test_every_stored_value_comes_back():
    stored = np.arange(65536, dtype=np.uint16)
    assert (to_stored(to_intensity(stored)) == stored).all()
    assert to_intensity(stored[[0, -1]]).tolist() == [-1, 1]


def test_write_in_order_is_a_npy_file(tmp_path):
    rows = np.arange(700 * 6, dtype=np.uint16).reshape(700, 2, 3)
    (tmp_path / "raw").write_bytes(rows.tobytes())
    order = np.random.default_rng(0).permutation(700)
    store.write_in_order(tmp_path / "a.npy", tmp_path / "raw", (2, 3), np.uint16, order)
    assert (np.load(tmp_path / "a.npy") == rows[order]).all()
    assert not (tmp_path / "raw").exists()


def test_views_are_disjoint_and_complete(folder):
    whole = Store.open(folder, verify=True)
    views = {name: whole.split(name) for name in ("train", "val", "test")}
    assert len(whole) == sum(map(len, views.values())) == COUNT
    for name, view in views.items():
        assert view.images.shape == (len(view), 1, 16, 16) and view.masks.shape == (len(view), 16, 16)
        assert list(view.samples.index) == list(range(len(view))) and set(view.samples["split"]) == {name}
        assert view.label_values() == view.samples["sex"].tolist()
        for row in range(len(view)):
            twin = whole.samples.index[whole.samples["image"] == view.samples["image"][row]][0]
            assert (whole.images[twin] == view.images[row]).all() and (whole.masks[twin] == view.masks[row]).all()


def test_a_view_holds_no_path_to_the_rest(folder):
    view = Store.open(folder).split("train")
    with pytest.raises(IndexError):
        view.images[len(view)]
    assert len(view.split("test")) == 0


def test_intensities_are_float32_within_the_range(folder):
    view = Store.open(folder).split("train")
    some = view.intensities([2, 0])
    assert some.dtype == np.float32 and some.min() >= -1 and some.max() <= 1
    assert (some == view.intensities()[[2, 0]]).all()


def test_a_write_does_not_reach_the_file(folder):
    Store.open(folder).images[0] += 1
    Store.open(folder, verify=True)


def test_unknown_split(folder):
    with pytest.raises(ValueError, match="'training', expected one of train, val, test"):
        Store.open(folder).split("training")


@pytest.mark.parametrize(
    "name", ["images.npy", "masks.npy", "samples.csv", "split.csv", "quarantine.csv", "duplicates.csv", "store.json"]
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        Store.open(folder)


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_a_truncated_array_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-100])
    with pytest.raises(InputError, match=name):
        Store.open(folder)


def test_a_changed_pixel_is_found_by_its_digest(folder):
    content = bytearray((folder / "images.npy").read_bytes())
    content[-1] ^= 1
    (folder / "images.npy").write_bytes(content)
    Store.open(folder)
    with pytest.raises(InputError, match="digest"):
        Store.open(folder, verify=True)


def edit_info(folder, **changes):
    path = folder / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 99}, "version 99, expected 2"),
        ({"rows_out": 11}, "12 rows, store.json says 11"),
        ({"rows_in": 13}, "13 rows in, 12 accounted for"),
        ({"channels": 3}, "images.npy: uint16 of"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"conditions": {"age": {"kind": "number", "range": [0, 1]}}}, "no column 'age'"),
    ],
)
def test_files_that_disagree(folder, changes, reason):
    edit_info(folder, **changes)
    with pytest.raises(InputError, match=reason):
        Store.open(folder)


@pytest.mark.parametrize("edit", [lambda table: table[::-1], lambda table: table.assign(split="train")])
def test_rows_that_left_their_split(folder, edit):
    table = pd.read_csv(folder / "samples.csv", dtype=str)
    edit(table).to_csv(folder / "samples.csv", index=False)
    with pytest.raises(InputError, match=r"samples\.csv"):
        Store.open(folder)


def test_read_takes_a_window_of_some_rows(folder):
    view = Store.open(folder).split("train")
    window = (slice(3, 9), slice(-4, None))
    for rows in (slice(1, 4), [2, 0, 2], np.array([3])):
        assert (view.read(rows, window) == view.images[rows][:, :, 3:9, -4:]).all()
        assert (view.read(rows) == view.images[rows]).all()
    assert view.read([], window).shape == (0, 1, 6, 4) and view.read([0]).dtype == np.uint16


def test_a_store_knows_where_its_voxels_are(store):
    assert store.affine(0) is None and store.spacing_mm(0) is None
    affine = [[0, -0.5, 0, 1], [-2, 0, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]]
    known = Store(store.info, store.images, None, store.samples.assign(affine=json.dumps(affine)))
    assert known.affine(3).tolist() == affine and known.spacing_mm(3) == (2, 0.5)
