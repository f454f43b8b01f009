"""Tables of collections that have none: what they say is what lies there, and `prepare` takes them as they are."""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.artifacts.store import Store
from medsynth.cli import main
from medsynth.config import PrepareSettings
from medsynth.errors import InputError
from medsynth.images.formats import files as formats
from medsynth.prepare.prepare import prepare
from medsynth.tabulate.slices import Cut
from medsynth.tabulate.tabulate import Options, tabulate

RNG = np.random.default_rng(0)
COUNT = 12


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def prepared(table: Path, out: Path, values: tuple[str, ...], modality: str = "ultrasound") -> Store:
    settings = {
        "seed": 0,
        "dataset": "d",
        "data_root": str(table.parent),
        "source": {"kind": "table", "table": table.name, "duplicates": "report"},
        "modality": modality,
        "size": (16, 16),
        "fit": "pad",
        "conditions": {"label": {"kind": "categorical", "values": values}},
        "label": "label",
        "split": {"train": 0.34, "val": 0.33, "test": 0.33},
    }
    prepare(PrepareSettings.model_validate(settings), out, 1)
    return Store.open(out)


# --- folders by class -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for label in ("benign", "malignant"):
        for number in range(6):
            path = root / label / "deep" / f"p{number // 2:02d}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RNG.integers(0, 255, (20, 20), dtype=np.uint8)).save(path)
    (root / "benign/notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    (root / ".hidden/x.png").write_bytes(b"")
    return root


def test_every_image_of_a_class_folder_has_its_row(folder, tmp_path, caplog):
    table = tabulate(folder, None, Options())
    rows = read(table)
    assert table == folder / "samples.csv" and len(rows) == 12
    assert rows["label"].value_counts().to_dict() == {"benign": 6, "malignant": 6}
    assert rows["subject_id"].nunique() == 12 and "every image counts as a subject" in caplog.text
    assert "1 files of no known image format are left out" in caplog.text
    assert len(prepared(table, tmp_path / "store", ("benign", "malignant"))) == 12


def test_the_subject_is_taken_from_the_path(folder):
    rows = read(tabulate(folder, None, Options(subject=r"(\w+/deep/p\d+)_")))
    assert rows["subject_id"].nunique() == 6 and rows["subject_id"][0] == "benign/deep/p00"


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("(", "not a regular expression"),
        ("p", "0 groups, expected one"),
        ("(q)", r"no subject in it by --subject '\(q\)'"),
    ],
)
def test_an_expression_that_finds_no_subject_is_refused(folder, subject, message):
    with pytest.raises(InputError, match=message):
        tabulate(folder, None, Options(subject=subject))
    assert not (folder / "samples.csv").exists()


def test_one_class_an_existing_table_and_a_needless_folder_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"the images of .* stay where they are"):
        tabulate(folder, tmp_path / "out", Options())
    with pytest.raises(InputError, match="one class, 'deep', expected a folder for each of at least two classes"):
        tabulate(folder / "benign", None, Options())
    tabulate(folder, None, Options())
    with pytest.raises(InputError, match="is there already; remove it"):
        tabulate(folder, None, Options())


# --- MedMNIST ---------------------------------------------------------------------------------------------------


def archive(path: Path, shape: tuple[int, ...] = (14, 14), labels: int = 1, **changes) -> tuple[Path, dict]:
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = RNG.integers(0, 255, (COUNT, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(COUNT * labels).reshape(COUNT, labels) % 2
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path, arrays


@pytest.mark.parametrize(
    ("shape", "modality"), [((14, 14), "ultrasound"), ((14, 14, 3), "fundus"), ((6, 14, 14), "ct_volume")]
)
def test_an_archive_is_taken_apart_as_it_was_split(tmp_path, shape, modality):
    source, arrays = archive(tmp_path / "a.npz", shape)
    rows = read(tabulate(source, tmp_path / "out", Options(labels=("no", "yes"))))
    assert rows["split"].value_counts().to_dict() == {"train": COUNT, "val": COUNT, "test": COUNT}
    assert rows["subject_id"].nunique() == 3 * COUNT
    assert rows["label"].tolist() == 3 * ["no" if number % 2 == 0 else "yes" for number in range(COUNT)]
    last = rows.iloc[-1]
    data = (tmp_path / "out" / last["image"]).read_bytes()
    voxels = formats.decode(data, last["image"]).voxels
    expected = arrays["test_images"][-1]
    expected = np.moveaxis(expected, -1, 0) if shape[-1] == 3 else expected[None]
    assert np.array_equal(np.sort(voxels, None), np.sort(expected, None))
    if modality != "ct_volume":
        assert np.array_equal(voxels, expected)
        assert len(prepared(tmp_path / "out/samples.csv", tmp_path / "store", ("no", "yes"), modality)) == 3 * COUNT


def test_several_labels_are_listed_and_numbers_name_themselves(tmp_path):
    source, _ = archive(tmp_path / "a.npz", labels=3)
    rows = read(tabulate(source, tmp_path / "out", Options()))
    assert rows["label"][:2].tolist() == ["1", "0|2"]
    none = {f"{split}_labels": np.zeros((COUNT, 2), int) for split in ("train", "val", "test")}
    source, _ = archive(tmp_path / "b.npz", **none)
    assert set(read(tabulate(source, tmp_path / "two", Options()))["label"]) == {"no finding"}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"val_labels": None}, Options(), "no array val_labels"),
        ({"val_labels": np.zeros((3, 1), int)}, Options(), r"val_labels is \(3, 1\), expected \(12, labels\)"),
        ({"test_labels": np.array([["a"]] * COUNT, object)}, Options(), "test_labels is of object, expected whole"),
        ({"train_images": np.zeros((COUNT, 4, 4), float)}, Options(), "train_images is of float64, expected uint8"),
        ({"train_images": np.zeros((COUNT, 4), np.uint8)}, Options(), "expected grey, RGB or volumes"),
        ({}, Options(labels=("one",)), "class 1, --labels names 1"),
    ],
)
def test_an_archive_that_is_none_is_refused_and_leaves_nothing(tmp_path, changes, options, message):
    source, _ = archive(tmp_path / "a.npz", **changes)
    with pytest.raises(InputError, match=message):
        tabulate(source, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_bomb_and_a_truncated_array_are_refused(tmp_path):
    header = np.lib.format
    for name, shape, message in (("bomb", (1, 2**20, 2**20), "expected"), ("short", (2, 8, 8), "ends at item 0 of 2")):
        path = tmp_path / f"{name}.npz"
        with zipfile.ZipFile(path, "w") as file:
            with file.open("train_images.npy", "w") as part:
                header.write_array_header_1_0(part, {"descr": "|u1", "fortran_order": False, "shape": shape})
            with file.open("train_labels.npy", "w") as part:
                header.write_array(part, np.zeros((shape[0], 1), int))
        with pytest.raises(InputError, match=message):
            tabulate(path, tmp_path / "out", Options())
    (tmp_path / "no.npz").write_text("text")
    with pytest.raises(InputError, match=r"not an \.npz archive"):
        tabulate(tmp_path / "no.npz", tmp_path / "out", Options())


# --- slices of volumes ------------------------------------------------------------------------------------------

SHAPE = (9, 11, 13)  # x, y, z of the file
AFFINE = np.array([[-2.0, 0.1, 0, 30], [0.1, 1.5, 0.2, -20], [0, -0.2, 3.0, 5], [0, 0, 0, 1]])


def height(points: np.ndarray) -> np.ndarray:
    """A value of each place in mm (4, n): a plane, which says where a pixel is."""
    return 3 * points[0] + 5 * points[1] - 2 * points[2]


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    grid = np.stack([*np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), np.ones(SHAPE)]).reshape(4, -1)
    values = height(AFFINE @ grid).reshape(SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 3:6, 5:8] = 2
    for number in range(3):
        nibabel.save(nibabel.Nifti1Image(values + number, AFFINE), tmp_path / f"v{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / f"m{number}.nii.gz")
    rows = {"image": [f"v{n}.nii.gz" for n in range(3)], "mask": [f"m{n}.nii.gz" for n in range(3)]}
    pd.DataFrame(rows | {"subject_id": ["a", "b", "c"], "label": ["x", "y", "x"]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    return tmp_path / "t.csv"


@pytest.mark.parametrize(("axis", "count"), [("axial", 13), ("coronal", 11), ("sagittal", 9)])
def test_a_pixel_of_a_slice_is_where_its_affine_says(volumes, tmp_path, axis, count):
    rows = read(tabulate(volumes, tmp_path / "out", Options(cut=Cut(axis))))
    assert len(rows) == 3 * count and rows["subject_id"].value_counts().to_dict() == dict.fromkeys("abc", count)
    for row in rows.iloc[[0, count - 1]].to_dict("records"):
        data = (tmp_path / "out" / row["image"]).read_bytes()
        image = formats.decode(data, row["image"])
        assert image.voxels.ndim == 3 and image.affine is not None
        places = np.stack(np.meshgrid(*map(np.arange, image.spatial_shape), indexing="ij")).reshape(2, -1)
        points = image.affine @ np.concatenate([places, np.zeros((1, places.shape[1])), np.ones((1, places.shape[1]))])
        np.testing.assert_allclose(image.voxels.ravel(), height(points), atol=0.01)


def test_slices_are_seen_from_the_feet_with_the_front_above(volumes, tmp_path):
    rows = read(tabulate(volumes, tmp_path / "out", Options(cut=Cut("axial"))))
    image = formats.decode((tmp_path / "out" / rows["image"][3]).read_bytes(), rows["image"][3])
    down, right = image.affine[:3, 0], image.affine[:3, 1]
    assert np.argmax(np.abs(down)) == 1 and down[1] < 0  # to the back
    assert np.argmax(np.abs(right)) == 0 and right[0] < 0  # to the patient's left


def test_only_slices_that_show_a_structure_and_one_of_so_many(volumes, tmp_path):
    rows = read(tabulate(volumes, tmp_path / "out", Options(cut=Cut("axial", where_mask=(2,)))))
    assert sorted(set(rows["slice"])) == ["5", "6", "7"] and len(rows) == 9
    mask = formats.decode((tmp_path / "out" / rows["mask"][0]).read_bytes(), rows["mask"][0])
    assert (mask.voxels == 2).sum() == 6 and set(np.unique(mask.voxels)) == {0, 2}
    every = read(tabulate(volumes, tmp_path / "two", Options(cut=Cut("coronal", every=4))))
    assert sorted(set(every["slice"]), key=int) == ["0", "4", "8"]


def test_a_volume_that_cannot_be_used_is_named_and_the_others_go_through(volumes, tmp_path, caplog):
    (tmp_path / "v1.nii.gz").write_bytes(b"damaged")
    rows = read(tabulate(volumes, tmp_path / "out", Options(cut=Cut("axial"))))
    assert set(rows["subject_id"]) == {"a", "c"} and "row 2 (v1.nii.gz) is left out" in caplog.text


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut("oblique"), "--axis 'oblique': expected axial, coronal, sagittal"),
        (Cut("axial", where_mask=(7,)), "no slice"),
    ],
)
def test_a_cut_that_is_none_is_refused(volumes, tmp_path, cut, message):
    with pytest.raises(InputError, match=message):
        tabulate(volumes, tmp_path / "out", Options(cut=cut))


def test_the_command_prints_where_the_table_is(volumes, tmp_path, capsys):
    main(["tabulate", str(volumes), "--out", str(tmp_path / "out"), "--axis", "axial", "--every", "3"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out/samples.csv")
    for arguments, message in (
        ([str(volumes)], "--out is missing"),
        ([str(volumes), "--out", str(tmp_path / "o")], "exp"),
    ):
        with pytest.raises(SystemExit, match=f"medsynth tabulate: .*{message}"):
            main(["tabulate", *arguments])
