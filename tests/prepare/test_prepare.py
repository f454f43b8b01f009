import csv
import errno
import hashlib
import os

import nibabel
import numpy as np
import PIL.Image
import pytest

from medsynth.artifacts import store
from medsynth.artifacts.store import Store
from medsynth.config import PrepareSettings
from medsynth.errors import InputError
from medsynth.images.formats.files import read
from medsynth.images.geometry import Geometry
from medsynth.images.intensity import Intensity
from medsynth.prepare.prepare import prepare
from tests.conftest import SHARED_DATA

PATHOLOGY = {"pathology": {"kind": "categorical", "values": ["normal", "nodule"]}}
LESION = {"lesion": {"kind": "lesions"}}
EACH = 10  # images of each pathology


def settings(folder, conditions=PATHOLOGY, **changes):
    given = {
        "seed": 0,
        "dataset": "demo",
        "data_root": str(folder),
        "source": {"kind": "table", "table": "samples.csv"},
        "modality": "chest_xray",
        "size": (16, 16),
        "fit": "pad",
        "conditions": conditions,
        "label": "pathology",
        "split": {},
    }
    return PrepareSettings(**(given | changes))


def pixels(seed, shape=(40, 32)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class Collection:
    """A folder of PNGs and its table, to be spoilt by a test."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = []
        for index in range(2 * EACH):
            name = f"{index:02d}.png"
            PIL.Image.fromarray(pixels(index)).save(folder / name)
            self.rows.append({"image": name, "subject_id": f"s{index}", "pathology": ("normal", "nodule")[index % 2]})

    def write(self):
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (self.folder / "samples.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)

    def prepare(self, max_bad_fraction=0.1, threads=1, allow_outside_root=False, frame=None, **changes):
        self.write()
        source = {
            "kind": "table",
            "table": "samples.csv",
            "max_bad_fraction": max_bad_fraction,
            "allow_outside_root": allow_outside_root,
            "frame": frame,
        }
        out = self.folder / "out" / "demo"
        prepare(settings(self.folder, source=source, **changes), out, threads)
        return Store.open(out, verify=True)

    def rejected(self):
        with (self.folder / "out" / "demo" / "quarantine.csv").open() as file:
            return list(csv.DictReader(file))


def test_images_come_back_by_the_inverse(collection):
    whole = collection.prepare(size=(40, 40))
    assert len(whole) == 2 * EACH and collection.rejected() == []
    for row, cells in whole.samples.iterrows():
        source = pixels(int(cells["image"][:2]))
        geometry = Geometry.from_cells(cells, whole.info.size)
        shown = Intensity(float(cells["low"]), float(cells["high"])).inverse(whole.intensities([row])[0, 0])
        assert geometry == Geometry((40, 32), (0.0, -4.0), (40.0, 40.0), (40, 40))
        assert np.abs(shown[:, 4:36] - source).max() < 0.01 and (shown[:, :4] == 0).all()
        digest = hashlib.sha256((collection.folder / cells["image"]).read_bytes()).hexdigest()
        assert cells["sha256"] == digest


def test_workers_and_row_order_change_nothing(collection):
    alone = collection.prepare().info.digest
    assert collection.prepare(threads=2).info.digest == alone
    split = {row["subject_id"]: row["split"] for row in collection.prepare().samples.to_dict("records")}
    collection.rows.reverse()
    turned = collection.prepare().samples
    assert dict(zip(turned["subject_id"], turned["split"], strict=True)) == split


def outside(collection):
    path = collection.folder.parent / f"{collection.folder.name}_outside.png"
    PIL.Image.fromarray(pixels(99)).save(path)
    return path


def link_outside(collection):
    (collection.folder / "link.png").symlink_to(outside(collection))
    return "link.png"


def linked_folder(collection):
    (collection.folder / "inside").symlink_to(outside(collection).parent)
    return f"inside/{outside(collection).name}"


def truncated(collection):
    content = (collection.folder / "03.png").read_bytes()
    (collection.folder / "cut.png").write_bytes(content[: len(content) // 2])
    return "cut.png"


def coloured(collection):
    PIL.Image.fromarray(pixels(5, (8, 8, 3))).save(collection.folder / "colour.png")
    return "colour.png"


def saved_again(collection):
    PIL.Image.fromarray(pixels(0)).save(collection.folder / "again.tif")
    return "again.tif"


def subfolder(collection):
    (collection.folder / "folder.png").mkdir()
    return "folder.png"


def named_pipe(collection):
    os.mkfifo(collection.folder / "pipe.png")
    return "pipe.png"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda collection: "gone.png", "cannot be read (No such file or directory)"),
        (subfolder, "a folder of 0 files, expected a DICOM series"),
        (lambda collection: "inside/..", "outside the table's folder"),
        (lambda collection: "a\0b.png", "not a path"),
        (lambda collection: f"../{outside(collection).name}", "outside the table's folder"),
        (lambda collection: str(outside(collection)), "outside the table's folder"),
        (link_outside, "outside the table's folder"),
        (linked_folder, "outside the table's folder"),
        (named_pipe, "not a file"),
        (truncated, "truncated"),
        (coloured, "source.colour: luma takes its brightness"),
        (saved_again, "the same pixels as row 1 (00.png)"),
    ],
)
def test_a_bad_image_is_quarantined(collection, spoil, reason):
    collection.rows[6]["image"] = name = spoil(collection)
    whole = collection.prepare()
    (bad,) = collection.rejected()
    assert (bad["source_row"], bad["image"], bad["column"], bad["value"]) == ("7", name, "image", name)
    assert reason in bad["reason"]
    assert (whole.info.rows_in, whole.info.rows_out, whole.info.rows_quarantined) == (20, 19, 1)


def test_outside_is_allowed_on_request(collection):
    collection.rows[6]["image"] = str(outside(collection))
    assert len(collection.prepare(allow_outside_root=True)) == 20


def test_too_many_bad_rows_leave_a_list_and_no_store(collection):
    for row in collection.rows[2:6]:
        row["image"] = "gone.png"
    with pytest.raises(
        InputError, match=r"4 of 20 rows cannot be used \(20\.0%, at most 10\.0%.*row 3 .gone.png."
    ) as told:
        collection.prepare()
    left = collection.folder / "out" / "demo.quarantine.csv"
    assert str(left) in str(told.value) and "\n" not in str(told.value)
    assert len(left.read_text().splitlines()) == 5
    assert list((collection.folder / "out").iterdir()) == [left]
    collection.prepare(max_bad_fraction=0.2)
    assert not left.exists()


def test_a_class_that_loses_its_images_is_named(collection):
    collection.rows = [row for row in collection.rows if row["pathology"] == "normal"] + [
        {"image": name, "subject_id": name, "pathology": "nodule"} for name in ("01.png", "03.png", "gone.png")
    ]
    with pytest.raises(InputError, match=r"pathology 'nodule' has 2 subjects"):
        collection.prepare()
    assert not (collection.folder / "out" / "demo").exists()


def test_full_disk_leaves_nothing(collection, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "write_in_order", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\), nothing is left"):
        collection.prepare()
    assert list((collection.folder / "out").iterdir()) == []


def test_masks_and_lesions_go_through_the_same_geometry(collection):
    for row in collection.rows:
        row |= {"mask": "n/a", "lesion_x": "n/a", "lesion_y": "n/a", "lesion_size": "n/a"}
    mask = np.zeros((40, 32), np.uint8)
    mask[8:16, 8:16] = 3
    PIL.Image.fromarray(mask).save(collection.folder / "mask.png")
    collection.rows[1] |= {"mask": "mask.png", "lesion_x": "0.375", "lesion_y": "0.3", "lesion_size": "0.25"}
    whole = collection.prepare(conditions=PATHOLOGY | LESION, size=(20, 20), fit="pad")
    assert whole.info.structures == {"structure_3": 3}
    (row,) = np.flatnonzero(whole.samples["image"] == "01.png")
    cells = whole.samples.iloc[row]
    # 32 columns lie in the middle of 40: column 12 moves to 16 of 40, the diameter of 8 becomes 8 of 40
    assert (cells["lesion_x"], cells["lesion_y"], cells["lesion_size"]) == ("0.4", "0.3", "0.2")
    assert (np.argwhere(whole.masks[row]).mean(0) + 0.5).tolist() == [6, 8]
    assert set(np.unique(whole.masks)) == {0, 3} and np.count_nonzero(whole.masks) == 16


def test_every_lesion_of_a_set_goes_through_the_geometry_and_other_kinds_stay(collection):
    fields = {
        "lesion": {"kind": "lesions", "most": 2, "graded": True},
        "grade": {"kind": "ordinal", "values": [0, 1]},
        "findings": {"kind": "multi_label", "values": ["mass", "cyst"]},
    }
    names = [f"lesion_{slot}_{part}" for slot in (1, 2) for part in ("x", "y", "size", "severity")]
    for row in collection.rows:
        row |= dict.fromkeys(names, "n/a") | {"grade": "1", "findings": "cyst|mass"}
    collection.rows[1] |= dict(zip(names[4:], ["0.375", "0.3", "0.25", "0.9"], strict=True))
    collection.rows[2]["findings"] = "mass|moss"
    whole = collection.prepare(conditions=PATHOLOGY | fields, size=(20, 20), fit="pad")
    (cells,) = whole.samples[whole.samples["image"] == "01.png"].to_dict("records")
    assert [cells[name] for name in names] == ["n/a"] * 4 + ["0.4", "0.3", "0.2", "0.9"]
    assert (cells["grade"], cells["findings"]) == ("1", "cyst|mass")
    (bad,) = collection.rejected()
    assert (bad["column"], bad["reason"]) == ("findings", "'moss' is not one of mass, cyst, no finding")


def test_a_mask_condition_on_a_table_without_masks_is_refused(collection):
    conditions = PATHOLOGY | {"outline": {"kind": "mask"}}
    with pytest.raises(InputError, match=r"samples\.csv: no column 'mask', a condition of kind mask needs one"):
        collection.prepare(conditions=conditions)
    for row in collection.rows:
        row["mask"] = "n/a"
    with pytest.raises(InputError, match="demo: no mask shows a structure"):
        collection.prepare(conditions=conditions)


def test_a_lesion_that_is_cropped_away_is_quarantined(collection):
    for row in collection.rows:
        row |= {"lesion_x": "0.5", "lesion_y": "0.5", "lesion_size": "0.1"}
    collection.rows[4]["lesion_y"] = "0.05"
    collection.prepare(conditions=PATHOLOGY | LESION, fit="crop")
    (bad,) = collection.rejected()
    assert (bad["source_row"], bad["column"], bad["value"]) == ("5", "lesion_y", "0.05")
    assert "the part of the image that is kept" in bad["reason"]


def test_a_mask_of_another_shape_is_quarantined(collection):
    for row in collection.rows:
        row["mask"] = "n/a"
    collection.rows[4]["mask"] = "mask.png"
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(collection.folder / "mask.png")
    collection.prepare()
    (bad,) = collection.rejected()
    assert bad["column"] == "mask" and "its image has (40, 32)" in bad["reason"]


OBLIQUE = np.array([[-1.5, 0, 0.2, 9], [0, 2, 0, -8], [0.3, 0, 3, 7], [0, 0, 0, 1.0]])  # of (x, y, z)


def make_volumes(collection, affine_of_masks=OBLIQUE):
    """NIfTI files of 12 x 10 x 8 voxels, each with a bright cube of two a side that its mask outlines."""
    for index, row in enumerate(collection.rows):
        place = tuple(slice(start, start + 2) for start in (2 + index % 8, 2 + index // 8, 4))
        voxels = np.full((12, 10, 8), -500, np.int16)
        voxels[place] = 900
        row |= {"image": f"{index}.nii.gz", "mask": f"{index}_mask.nii"}
        nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), collection.folder / row["image"])
        mask = nibabel.Nifti1Image((voxels > 0).astype(np.uint8), affine_of_masks)
        nibabel.save(mask, collection.folder / row["mask"])


def test_volumes_and_their_masks_keep_their_place_in_mm(collection):
    make_volumes(collection)
    store = collection.prepare(modality="ct_volume", size=(16, 16, 16))
    assert store.images.shape[1:] == (1, 16, 16, 16) and len(store) == 2 * EACH
    for row in range(len(store)):
        index = int(store.samples["source_row"][row]) - 1
        expected = OBLIQUE @ [2.5 + index % 8, 2.5 + index // 8, 4.5, 1]
        weight = store.images[row, 0].astype(float) - np.median(store.images[row])
        weight[weight < 100] = 0  # the padding, and rounding
        for picture in (weight, store.masks[row]):
            centre = [np.average(axis, weights=picture) for axis in np.indices((16, 16, 16))]
            found = store.affine(row) @ [*centre, 1]
            # A stored voxel is 1.5 mm. The mean of interpolated values is right but for the place of their few samples;
            # a mask has whole voxels alone.
            assert np.abs(found - expected).max() < (0.1 if picture is weight else 1.5)
        assert store.spacing_mm(row) == pytest.approx((1.508, 1.508, 1.508), rel=1e-2)


def test_a_mask_that_lies_elsewhere_is_quarantined(collection):
    make_volumes(collection, OBLIQUE + np.array([[0, 0, 0, 0.5]] + [[0] * 4] * 3))
    with pytest.raises(InputError, match=r"mask the affine puts it 0\.5 mm away from its image"):
        collection.prepare(modality="ct_volume", size=(16, 16, 16))


@pytest.mark.skipif(not (SHARED_DATA / "ct_slices").is_dir(), reason=f"no CT slices in {SHARED_DATA}")
def test_real_ct_slices(tmp_path):
    conditions = {"contrast_agent": {"kind": "categorical", "values": ["0", "1"]}}
    changes = {"modality": "ct", "label": "contrast_agent", "conditions": conditions, "size": (64, 64)}
    info = prepare(settings(SHARED_DATA / "ct_slices", **changes), tmp_path / "ct")
    assert (info.rows_in, info.rows_out) == (25, 25)
    whole = Store.open(tmp_path / "ct", verify=True)
    for row, cells in whole.samples.iterrows():
        image = read(SHARED_DATA / "ct_slices" / cells["image"])
        source = image.voxels if image.padding is None else np.where(image.padding, -1000, image.voxels)
        means = source.reshape(64, 8, 64, 8).mean((1, 3)).clip(-1000, 1000)
        shown = Intensity(float(cells["low"]), float(cells["high"])).inverse(whole.intensities([row])[0, 0])
        assert np.abs(shown - means).max() < 0.05  # one step of the store is 0.03 HU
