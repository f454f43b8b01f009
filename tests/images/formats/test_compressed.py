"""DICOM by compressions that pydicom does not decode alone, beside the same image uncompressed."""

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from medsynth.errors import InputError
from medsynth.images.formats.dicom import CODECS, decode

LOSSLESS, LOSSLESS_FIRST, LS, EXTENDED = (UID(f"1.2.840.10008.1.2.4.{number}") for number in ("57", "70", "80", "51"))


def real(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def packed(name: str, syntax: UID, frame: bytes, **changes) -> bytes:
    """A file of pydicom's with its pixels as a compressed frame."""
    header = pydicom.dcmread(io.BytesIO(real(name)))
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = encapsulate([frame])
    header["PixelData"].VR = "OB"
    for key, value in changes.items():
        setattr(header, key, value)
    file = io.BytesIO()
    header.save_as(file)
    return file.getvalue()


def stored(name: str) -> np.ndarray:
    return pydicom.dcmread(io.BytesIO(real(name))).pixel_array


def test_lossless_jpeg_ls_has_the_values_of_the_same_file_without_it():
    assert np.array_equal(decode(real("MR_small_jpeg_ls_lossless.dcm")).voxels, decode(real("MR_small.dcm")).voxels)


@pytest.mark.parametrize(
    ("name", "shape", "ends"),
    [
        ("JPEGLSNearLossless_08.dcm", (1, 45, 10), (0, 255)),
        ("JPEGLSNearLossless_16.dcm", (1, 50, 10), (0, 65535)),
        ("SC_rgb_jls_lossy_line.dcm", (3, 100, 100), (0, 255)),
        ("SC_rgb_jls_lossy_sample.dcm", (3, 100, 100), (0, 255)),
        ("SC_rgb_jpeg_gdcm.dcm", (3, 100, 100), (0, 255)),  # JPEG Lossless
    ],
)
def test_real_files_of_each_compression_are_read(name, shape, ends):
    voxels = decode(real(name)).voxels
    assert voxels.shape == shape and (voxels.min(), voxels.max()) == ends


@pytest.mark.parametrize("syntax", [LOSSLESS, LOSSLESS_FIRST])
def test_signed_values_of_lossless_jpeg_come_back(syntax):
    values = stored("CT_small.dcm").astype(np.int16)
    values[:4] = -900
    frame = imagecodecs.ljpeg_encode(values.view(np.uint16), bitspersample=16)
    whole = pydicom.dcmread(io.BytesIO(real("CT_small.dcm")))
    voxels = decode(packed("CT_small.dcm", syntax, frame)).voxels[0]
    assert np.array_equal(voxels, values * whole.RescaleSlope + whole.RescaleIntercept)


def test_the_sign_is_the_highest_bit_that_is_stored():
    values = np.array([[-2048, -1], [0, 2047]], np.int16)
    frame = imagecodecs.jpegls_encode(values.view(np.uint16) & 0x0FFF)
    sizes = {"Rows": 2, "Columns": 2, "BitsStored": 12, "HighBit": 11, "RescaleIntercept": 0, "RescaleSlope": 1}
    assert np.array_equal(decode(packed("CT_small.dcm", LS, frame, **sizes)).voxels[0], values)


def test_extended_jpeg_of_twelve_bits_is_read_to_within_its_loss():
    values = (np.add.outer(np.arange(64), np.arange(64)) * 30).astype(np.uint16)
    frame = imagecodecs.jpeg_encode(values, level=98, bitspersample=12)
    sizes = {"Rows": 64, "Columns": 64, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    voxels = decode(packed("MR_small.dcm", EXTENDED, frame, **sizes)).voxels[0]
    assert np.abs(voxels - values).max() <= 40


def test_a_frame_of_another_size_or_damaged_is_refused_and_its_compression_named():
    frame = imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint16))
    for content in (frame, frame[:20], b"\0" * 40):
        with pytest.raises(InputError, match=r"pixels cannot be decoded \(\w+, JPEG-LS Lossless Image Compression\)"):
            decode(packed("MR_small.dcm", LS, content))


def test_what_nothing_decodes_is_named():
    with pytest.raises(InputError, match="no decoder is installed for the transfer syntax MPEG2"):
        decode(packed("MR_small.dcm", UID("1.2.840.10008.1.2.4.100"), b"\0\0"))
    assert all(UID(syntax).name != syntax for syntax in CODECS)
