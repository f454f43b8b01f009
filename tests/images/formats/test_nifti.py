"""NIfTI against nibabel, which wrote what is read here and reads what is written here."""

import gzip
import itertools

import nibabel
import numpy as np
import pytest

from medsynth.errors import InputError
from medsynth.images.formats import nifti
from medsynth.images.formats.files import count_frames, decode
from medsynth.images.image import Image

AFFINE = np.array([[1.5, 0, 0, -20], [0, 2, 0, -30], [0, 0, 2.5, 40], [0, 0, 0, 1]])  # of (x, y, z)
RNG = np.random.default_rng(0)


def content(data: np.ndarray, affine: np.ndarray = AFFINE, kind: type = nibabel.Nifti1Image, **header) -> bytes:
    file = kind(data, affine)
    for key, value in header.items():
        file.header[key] = value
    return file.to_bytes()


def test_axes_are_slices_rows_columns_and_the_affine_follows() -> None:
    data = RNG.integers(-1000, 1000, (4, 5, 6), dtype=np.int16)
    for name, found in (("a.nii", content(data)), ("a.nii.GZ", gzip.compress(content(data)))):
        image = decode(found, name)
        assert image.voxels.shape == (1, 6, 5, 4) and np.array_equal(image.voxels[0], data.transpose(2, 1, 0))
        assert image.spacing_mm == (2.5, 2.0, 1.5)
        assert image.affine @ [1, 2, 3, 1] == pytest.approx(AFFINE @ [3, 2, 1, 1])


@pytest.mark.parametrize("signs", itertools.product((1, -1), repeat=3), ids=str)
@pytest.mark.parametrize("order", itertools.permutations(range(3)), ids=str)
def test_any_orientation_becomes_ras(order, signs) -> None:
    data = RNG.normal(size=(3, 4, 5)).astype(">f4")
    affine = AFFINE.copy()
    affine[:3, :3] = (AFFINE[:3, :3] @ np.diag(signs))[:, order]
    image = decode(content(data, affine), "a.nii")
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(data, affine))
    assert np.array_equal(image.voxels[0], expected.get_fdata(dtype=np.float32).transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], expected.affine)


def test_each_voxel_keeps_its_place_in_an_oblique_volume() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    affine = turn @ AFFINE @ np.diag([-1, 1, -1, 1])
    data = np.zeros((4, 5, 6), np.uint8)
    data[3, 1, 2] = 1
    image = decode(content(data, affine, nibabel.Nifti2Image), "a.nii")
    place = np.argwhere(image.voxels[0])[0]
    np.testing.assert_allclose(image.affine @ [*place, 1], affine @ [3, 1, 2, 1], rtol=1e-6)


def test_slope_and_intercept_are_honoured_and_units_become_mm() -> None:
    data = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    file = nibabel.Nifti1Image(data, np.diag([0.002, 0.003, 0.004, 1]))
    file.header.set_slope_inter(2.5, -1024)
    file.header.set_xyzt_units("meter")
    image = decode(file.to_bytes(), "a.nii")
    assert np.array_equal(image.voxels[0], data.transpose(2, 1, 0) * 2.5 - 1024)
    assert image.spacing_mm == pytest.approx((4, 3, 2))


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_of_0_or_none_means_values_as_they_are_stored(slope) -> None:
    voxels = decode(
        with_bytes(SLOPE, [slope, 7], "<f4", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)), "a.nii"
    ).voxels
    assert np.array_equal(voxels[0], np.arange(24).reshape(2, 3, 4).transpose(2, 1, 0))


def test_one_volume_of_several_is_chosen_by_its_number() -> None:
    data = RNG.integers(-1000, 1000, (4, 5, 6, 3), dtype=np.int16)
    file = nibabel.Nifti1Image(data, AFFINE)
    file.header.set_slope_inter(2, -7)
    for frame in range(3):
        image = decode(gzip.compress(file.to_bytes()), "a.nii.gz", frame)
        assert np.array_equal(image.voxels[0], data[..., frame].transpose(2, 1, 0) * 2.0 - 7)
        assert image.spacing_mm == (2.5, 2.0, 1.5)
        assert np.array_equal(decode(file.to_bytes(), f"a.nii#{frame}").voxels, image.voxels)
    assert count_frames(gzip.compress(file.to_bytes()), "a.nii.gz") == 3
    assert count_frames(content(data[..., 0]), "a.nii") == 1
    with pytest.raises(InputError, match="volume 3 of a NIfTI of 3, counted from 0"):
        decode(file.to_bytes(), "a.nii", 3)
    single = content(data[..., 0])
    assert np.array_equal(decode(single, "a.nii", 0).voxels, decode(single, "a.nii").voxels)
    with pytest.raises(InputError, match="volume 1 of a NIfTI of 1, counted from 0"):
        decode(single, "a.nii", 1)


def test_a_single_slice_is_an_image() -> None:
    data = RNG.integers(0, 255, (4, 5, 1), dtype=np.uint8)
    image = decode(content(data), "a.nii")
    assert np.array_equal(image.voxels, data[..., 0].T[None]) and image.spacing_mm == (2.0, 1.5)


@pytest.mark.parametrize("shape", [(1, 6, 5, 4), (1, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_written_reads_back(shape, dtype) -> None:
    voxels = RNG.integers(0, 256, shape).astype(dtype)
    affine = np.eye(4)
    affine[:3, : len(shape) - 1] = AFFINE[:3, [2, 1, 0][-len(shape) + 1 :]]
    affine[:3, 3] = 7, 8, 9
    original = Image(voxels, affine, (-1000.0, 1000.0))
    written = nifti.encode(original, 2.0, -1000.0, {"Title": "t", "Note": "synthetic"})
    image = decode(written, "a.nii.gz")
    assert np.array_equal(image.voxels, voxels * 2.0 - 1000)
    np.testing.assert_allclose(image.affine, affine)
    assert image.display == (-1000, 1000)
    header = nibabel.Nifti1Image.from_bytes(gzip.decompress(written)).header
    assert header["descrip"].item() == b"t; synthetic"
    assert header.extensions[0].get_content() in (b"Title: t\nNote: synthetic\n", "Title: t\nNote: synthetic\n")
    assert (
        header.get_data_dtype() == {np.uint8: np.uint8, np.uint16: np.int16}[dtype]
        and header.get_xyzt_units()[0] == "mm"
    )
    np.testing.assert_allclose(header.get_qform(coded=True)[0], header.get_sform(coded=True)[0], atol=1e-5)
    assert header["sform_code"] == header["qform_code"] > 0
    assert written == nifti.encode(
        Image(voxels, affine, (-1000.0, 1000.0)), 2.0, -1000.0, {"Title": "t", "Note": "synthetic"}
    )


@pytest.mark.parametrize(
    ("slope", "intercept", "stored"),
    [
        (1.0, -1024.0, [-1024, -1023, 3071]),  # Hounsfield units are stored as they are
        (1.0, 0.5, [-32768, -32767, -28673]),
        (0.25, -7.0, [-32768, -32767, -28673]),
    ],
)
def test_sixteen_bits_are_signed_and_mean_the_same(slope, intercept, stored) -> None:
    levels = np.array([0, 1, 4095], np.uint16).reshape(1, 3, 1, 1)
    file = nibabel.Nifti1Image.from_bytes(gzip.decompress(nifti.encode(Image(levels), slope, intercept, {})))
    assert file.header.get_data_dtype() == np.int16
    assert np.asarray(file.dataobj.get_unscaled()).ravel().tolist() == stored
    assert np.array_equal(file.get_fdata().ravel(), levels.ravel() * slope + intercept)


def test_all_levels_of_sixteen_bits_fit() -> None:
    levels = np.array([0, 65535], np.uint16).reshape(1, 2, 1, 1)
    for slope, intercept in ((1.0, -1000.0), (3e-4, 12.0)):
        voxels = decode(nifti.encode(Image(levels), slope, intercept, {}), "a.nii.gz").voxels
        assert voxels.ravel() == pytest.approx([intercept, 65535 * slope + intercept], rel=1e-5)


def with_bytes(start: int, values: list[float], dtype: str, data: np.ndarray | None = None) -> bytes:
    """A file whose header is changed as nibabel would not write it."""
    whole = bytearray(content(np.zeros((2, 3, 4), np.uint8) if data is None else data))
    patch = np.array(values, dtype).tobytes()
    whole[start : start + len(patch)] = patch
    return bytes(whole)


def with_nan() -> bytes:
    return content(np.where(np.arange(24) == 5, np.nan, 1.0).reshape(2, 3, 4))


def by_qform(pixdim: float) -> bytes:
    """A file with a qform alone, one of its voxel sizes given."""
    whole = bytearray(with_bytes(QFORM_CODE, [1, 0], "<i2"))
    whole[PIXDIM_1 : PIXDIM_1 + 4] = np.array(pixdim, "<f4").tobytes()
    return bytes(whole)


SROW_X, QFORM_CODE, PIXDIM_1, SLOPE = 280, 252, 80, 112  # bytes into a NIfTI-1 header; sform_code follows qform_code
WHOLE = content(np.zeros((20, 30, 40), np.int16))
BAD = {
    "4D": (
        lambda: content(np.zeros((2, 3, 4, 5), np.uint8)),
        "4 axes: 5 volumes, expected one, or a name that ends in #0 to #4; source.frame: 0 takes the first of each",
    ),
    "5D": (lambda: content(np.zeros((2, 3, 4, 1, 3), np.uint8)), "5 axes, expected one volume of 3"),
    "infinite slope": (lambda: with_bytes(SLOPE, [np.inf, 0], "<f4"), "an infinite scl_slope"),
    "spacing 0": (lambda: by_qform(0.0), "voxel sizes 0 x 2 x 2.5, expected lengths"),
    "spacing NaN": (lambda: by_qform(np.nan), "voxel sizes nan x 2 x 2.5, expected lengths"),
    "NaN": (with_nan, "1 pixels are not finite"),
    "singular": (lambda: with_bytes(SROW_X, [0] * 4, "<f4"), "the affine is singular"),
    "no orientation": (lambda: with_bytes(QFORM_CODE, [0, 0], "<i2"), "left and right are unknown"),
    "truncated": (lambda: WHOLE[:-1000], r"truncated: 47,352 bytes, its header says 48,352"),
    "truncated gzip": (lambda: gzip.compress(WHOLE)[:-30], "truncated gzip"),
    "damaged gzip": (lambda: gzip.compress(WHOLE)[:20] + b"\xff" * 50, "damaged gzip"),
    "complex": (lambda: content(np.zeros((2, 3, 4), np.complex64)), "voxels of type complex64"),
    "another file": (lambda: b"\x89PNG" + bytes(400), "not a NIfTI file"),
    "header alone": (lambda: WHOLE[:200], "cannot be decoded as NIfTI"),
    "empty": (lambda: b"", "not a NIfTI file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(name) -> None:
    make, message = BAD[name]
    with pytest.raises(InputError, match=message) as refusal:
        decode(make(), "a.nii.gz")
    assert "\n" not in str(refusal.value)


def test_a_gzip_that_unfolds_beyond_the_limit_is_refused_while_it_unfolds(monkeypatch) -> None:
    monkeypatch.setattr(nifti, "MAX_BYTES", 50_000)
    monkeypatch.setattr(nifti, "UNFOLDED_TOGETHER", 10_000)
    decode(gzip.compress(WHOLE), "a.nii.gz")
    for bomb in (gzip.compress(bytes(10**6)), gzip.compress(WHOLE) * 2):
        with pytest.raises(InputError, match="gzip of more than 50,000 bytes"):
            decode(bomb, "a.nii.gz")


def test_a_header_that_asks_for_more_than_memory_is_refused_before_it_is_read() -> None:
    bomb = bytearray(WHOLE)
    bomb[40:50] = np.array([3, 32000, 32000, 32000, 1], "<i2").tobytes()
    with pytest.raises(InputError, match=r"32,000 x 32,000 x 32,000 pixels, expected 1 to"):
        decode(bytes(bomb), "a.nii")
