"""Rows that name a folder with a DICOM series."""

import hashlib
import shutil

import numpy as np
import pytest

from medsynth.errors import InputError
from tests.images.formats.test_dicom import NAME
from tests.images.formats.test_series import CORONAL, UID, change, slices, write

PRIVATE = "Zk9sibling"


def make_series(collection) -> None:
    """Each row becomes 6 coronal slices of noise."""
    for index, row in enumerate(collection.rows):
        found = slices(CORONAL, shape=(6, 8, 7), StudyID=PRIVATE)
        rng = np.random.default_rng(index)
        for each in found:
            each.PixelData = rng.integers(0, 1000, (8, 7), np.uint16).tobytes()
        write(collection.folder / f"{index}_series", found)
        row["image"] = f"{index}_series"


def prepared(collection, **changes):
    return collection.prepare(modality="ct_volume", size=(8, 8, 8), **changes)


def test_series_are_stored_as_volumes_and_name_nobody(collection) -> None:
    make_series(collection)
    store = prepared(collection)
    assert len(store) == len(collection.rows) and not collection.rejected()
    cells = store.samples.iloc[0]
    folder = collection.folder / cells["image"]
    whole = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    assert cells["sha256"] == whole.hexdigest()
    # Coronal: the slices, 3 mm apart, run from front to back, rows of 0.5 mm from the head down.
    affine = store.affine(0)
    assert (np.sign(affine[[2, 1, 0], [0, 1, 2]]) == 1).all()
    for path in (collection.folder / "out").rglob("*"):
        for text in (NAME, UID, PRIVATE):
            assert path.is_dir() or text.encode() not in path.read_bytes()


def test_one_bad_series_is_quarantined_and_the_others_go_through(collection) -> None:
    make_series(collection)
    shutil.rmtree(collection.folder / "3_series")
    write(collection.folder / "3_series", change(2, SeriesInstanceUID="1.2")(slices(CORONAL)))
    store = prepared(collection, threads=2)
    (bad,) = collection.rejected()
    assert (bad["source_row"], bad["image"]) == ("4", "3_series")
    assert bad["reason"] == "2 series in one folder, expected one"
    assert len(store) == len(collection.rows) - 1


def test_a_slice_that_is_a_link_out_of_the_folder_is_refused(collection, tmp_path) -> None:
    make_series(collection)
    inner = collection.folder / "5_series" / "IM0002"
    outside = collection.folder.parent / f"{collection.folder.name}_outside"
    shutil.move(inner, outside)
    inner.symlink_to(outside)
    prepared(collection)
    (bad,) = collection.rejected()
    assert "outside the table's folder" in bad["reason"]
    prepared(collection, allow_outside_root=True)
    assert not collection.rejected()


def test_a_series_in_a_collection_of_slices_is_refused(collection) -> None:
    make_series(collection)
    with pytest.raises(InputError, match="3 spatial axes, the modality has 2"):
        collection.prepare(modality="ct", size=(8, 8))
