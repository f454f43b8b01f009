"""A folder of DICOM slices as one volume: each voxel's place by the equation of PS3.3 C.7.6.2.1.1, and refusals."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from medsynth.errors import InputError
from medsynth.images import image as limits
from medsynth.images.formats import files, series
from tests.conftest import SHARED_DATA
from tests.images.formats.test_dicom import NAME, dataset, encode

SHAPE = (6, 5, 4)  # slices, rows, columns
SPACING = (3.0, 0.5, 0.8)
UID = "1.2.826.0.7771333.1"


def turned(degrees_x: float, degrees_z: float) -> np.ndarray:
    """(2, 3) along a row and down a column, LPS+."""
    a, b = np.radians([degrees_x, degrees_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return (about_z @ about_x)[:, :2].T


AXIAL = np.eye(3)[:2]
SAGITTAL = np.array([[0, 1, 0], [0, 0, -1.0]])
CORONAL = np.array([[1, 0, 0], [0, 0, -1.0]])
ORIENTATIONS = {
    "axial": AXIAL,
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "mirrored": -AXIAL,
    "oblique": turned(20, 35),
    "double oblique": turned(-70, 160),
}


def slices(axes=AXIAL, spacing=SPACING, shape=SHAPE, step=None, origin=(-40.0, 25.0, 310.0), **header) -> list:
    """The datasets of a series, the first at the origin; voxels are stored as 10 times their number + 5."""
    step = np.cross(*axes) * spacing[0] if step is None else np.array(step)
    stored = 10 * np.arange(np.prod(shape)).reshape(shape).astype(np.uint16) + 5
    return [
        dataset(
            plane,
            RescaleSlope=2,
            RescaleIntercept=-1024,
            SeriesInstanceUID=UID,
            PixelSpacing=[*map(float, spacing[1:])],
            ImageOrientationPatient=axes.ravel().round(10).tolist(),
            ImagePositionPatient=(np.array(origin) + number * step).round(10).tolist(),
            SliceThickness=99,
            **header,
        )
        for number, plane in enumerate(stored)
    ]


def write(folder: Path, found: list, order=None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, number in enumerate(order if order is not None else range(len(found))):
        (folder / f"IM{name:04d}").write_bytes(encode(found[number]))
    return folder


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_each_voxel_is_where_its_slice_puts_it(tmp_path, name) -> None:
    axes = ORIENTATIONS[name]
    found = slices(axes)
    image = files.read(write(tmp_path / "series", found, order=[3, 0, 5, 1, 4, 2]))
    assert image.voxels.size == np.prod(SHAPE) and image.dicom_code == "CT"
    for place in ((0, 0, 0), (2, 4, 1), (5, 0, 3)):
        number, row, column = place
        lps = np.array(found[number].ImagePositionPatient, float)
        lps = lps + column * SPACING[2] * axes[0] + row * SPACING[1] * axes[1]
        stored = 10 * np.ravel_multi_index(place, SHAPE) + 5
        (at,) = np.argwhere(image.voxels[0] == 2 * stored - 1024)
        np.testing.assert_allclose((image.affine @ [*at, 1])[:3], lps * [-1, -1, 1], atol=1e-6)
        by_affine = np.linalg.inv(image.affine) @ [*(lps * [-1, -1, 1]), 1]
        assert np.abs(by_affine[:3] - at).max() < 0.5
    # RAS+: each axis of (z, y, x) points up, to the front and to the right more than anywhere else.
    assert (np.abs(image.affine[:3, :3]).argmax(0) == [2, 1, 0]).all()
    assert (image.affine[[2, 1, 0], [0, 1, 2]] > 0).all()


def test_hidden_files_and_the_index_of_a_medium_are_no_slices(tmp_path) -> None:
    folder = write(tmp_path / "series", slices())
    for name in (".DS_Store", "DICOMDIR"):
        (folder / name).write_bytes(b"no image")
    assert files.read(folder).spatial_shape == SHAPE


def test_the_digest_is_that_of_the_files_one_after_the_other(tmp_path) -> None:
    folder = write(tmp_path / "series", slices())
    paths = [str(folder / name) for name in files.members(folder)]
    whole = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    assert files.decode_series(paths)[1] == whole.hexdigest()


def test_padding_and_burned_in_text_of_any_slice_count(tmp_path) -> None:
    found = slices()
    found[2].PixelPaddingValue = int(found[2].pixel_array[1, 3])
    found[4].BurnedInAnnotation = "YES"
    image = files.read(write(tmp_path / "series", found))
    assert image.burned_in and image.padding.sum() == 1
    value = image.voxels[0][image.padding]
    assert value == 2 * float(found[2].pixel_array[1, 3]) - 1024


def test_a_slight_slant_stays_in_the_affine(tmp_path) -> None:
    found = slices(step=[0.02, 0, 3.0])
    image = files.read(write(tmp_path / "series", found))
    np.testing.assert_allclose(image.affine[:3, 0], [-0.02, 0, 3.0], atol=1e-9)


def change(number: int, **header):
    def spoil(found: list) -> list:
        for key, value in header.items():
            setattr(found[number], key, value)
        return found

    return spoil


def move(number: int, *mm: float):
    def spoil(found: list) -> list:
        found[number].ImagePositionPatient = (np.array(found[number].ImagePositionPatient, float) + mm).tolist()
        return found

    return spoil


def without(keyword: str):
    def spoil(found: list) -> list:
        delattr(found[3], keyword)
        return found

    return spoil


BAD = {
    "one file": (lambda found: found[:1], "a folder of 1 files, expected a DICOM series of 2 slices or more"),
    "missing": (lambda found: found[:3] + found[4:], "1 slices are missing: a gap of 6 mm, most are 3 mm"),
    "uneven": (move(2, 0, 0, 0.4), "uneven slices: gaps from 2.6 to 3.4 mm"),
    "duplicate": (lambda found: [*found, found[2]], "1 of 7 slices are at the place of another one"),
    "two echoes": (lambda found: found + found, "6 of 12 slices are at the place of another one"),
    "mixed": (change(4, SeriesInstanceUID="1.2.3"), "2 series in one folder, expected one"),
    "orientation": (
        change(4, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "file 5 of 6 by name: another orientation than the first",
    ),
    "spacing": (change(4, PixelSpacing=[0.5, 0.81]), "file 5 of 6 by name: another pixel spacing"),
    "size": (lambda found: [*found[:5], *slices(shape=(6, 4, 4))[5:]], r"file 6 of 6 by name: \(4, 4\) pixels"),
    "tilted gantry": (lambda found: slices(step=[0, 0.6, 3.0]), "sheared by 11.3 degrees, as by a tilted gantry"),
    "moved sideways": (move(2, 0, 0.3, 0), "slices are not on one line"),
    "modalities": (change(1, Modality="MR"), "DICOM of 2 modalities in one series"),
    "no position": (without("ImagePositionPatient"), "file 4 of 6 by name: no ImagePositionPatient"),
    "no series": (without("SeriesInstanceUID"), "file 4 of 6 by name: no SeriesInstanceUID"),
    "no spacing": (change(3, PixelSpacing=[0, 0.8]), "file 4 of 6 by name: PixelSpacing is no length"),
    "no directions": (
        change(3, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "file 4 of 6 by name: ImageOrientationPatient is not two unit vectors",
    ),
    "frames": (change(3, NumberOfFrames=2), "file 4 of 6 by name: DICOM of 2 frames"),
    "mirrored grey": (change(3, PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1, expected MONOCHROME2"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_even_series_is_refused_in_one_line(tmp_path, name) -> None:
    spoil, message = BAD[name]
    folder = write(tmp_path / "series", spoil(slices()))
    with pytest.raises(InputError, match=message) as refusal:
        files.read(folder)
    text = str(refusal.value).removeprefix(str(folder))
    assert "\n" not in text and NAME not in text and UID not in text and "IM0" not in text


def test_other_files_are_refused_without_their_names(tmp_path) -> None:
    folder = write(tmp_path / "series", slices())
    (folder / NAME).write_bytes(b"notes about a patient")
    with pytest.raises(InputError, match="file 7 of 7 by name: not a DICOM file") as refusal:
        files.read(folder)
    assert NAME not in str(refusal.value)
    (folder / "inner").mkdir()
    with pytest.raises(InputError, match="a folder in a folder"):
        files.read(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="a folder of 0 files"):
        files.read(tmp_path / "empty")


def test_truncated_pixels_name_the_file_by_its_place(tmp_path) -> None:
    folder = write(tmp_path / "series", slices())
    whole = (folder / "IM0003").read_bytes()
    (folder / "IM0003").write_bytes(whole[:-20])
    with pytest.raises(InputError, match="file 4 of 6 by name: pixels cannot be decoded"):
        files.read(folder)


def test_limits_hold_before_any_pixel_is_decoded(tmp_path, monkeypatch) -> None:
    folder = write(tmp_path / "series", slices())
    monkeypatch.setattr(series.dicom, "decode", lambda data: pytest.fail("decoded"))
    monkeypatch.setattr(limits, "MAX_VOXELS", 100)
    with pytest.raises(InputError, match="6 x 5 x 4 pixels, expected 1 to 100"):
        files.read(folder)
    monkeypatch.undo()
    monkeypatch.setattr(series, "MAX_BYTES", 2_000)
    with pytest.raises(InputError, match="files of more than 2,000 bytes together"):
        files.read(folder)
    monkeypatch.setattr(files, "MAX_SLICES", 5)
    with pytest.raises(InputError, match="more than 5 files"):
        files.read(folder)


FIELD_MAP = SHARED_DATA / "dicom_series" / "field_map"


@pytest.mark.skipif(not FIELD_MAP.is_dir(), reason=f"no DICOM series in {SHARED_DATA}")
def test_a_real_series() -> None:
    """Its slices lie 3.6 mm apart, more than the SliceThickness of 3 mm that each of them states."""
    image = files.read(FIELD_MAP)
    assert image.voxels.shape == (1, 36, 64, 64) and image.dicom_code == "MR"
    assert image.spacing_mm == pytest.approx((3.6, 3, 3), abs=1e-4)
    # Of 00001.dcm: ImagePositionPatient, which the turn to RAS+ makes the last row and the last column.
    assert image.affine @ [0, 63, 63, 1] == pytest.approx([101.15237679, 114.17204914, -34.14534532, 1], abs=1e-4)
