"""One frame of several: the one that was asked for, with its own place, rescale and window."""

import io

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from medsynth.errors import InputError
from medsynth.images.formats.files import count_frames, decode, split_frame
from tests.images.formats.test_compressed import real
from tests.images.formats.test_dicom import NAME, STORED, dataset, encode, sequence

FRAMES = np.stack([STORED, STORED + 1, STORED[::-1] * 2])


def stacked(**header) -> pydicom.Dataset:
    data = dataset(FRAMES[0], **header)
    data.NumberOfFrames, data.PixelData = len(FRAMES), FRAMES.tobytes()
    return data


def enhanced() -> pydicom.Dataset:
    """Three frames with a position, a rescale and a window each, in no even steps; the spacing is that of all."""
    shared = sequence(
        PixelMeasuresSequence=sequence(PixelSpacing=[0.5, 0.25], SliceThickness=3),
        PlaneOrientationSequence=sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
    )
    frames = [
        sequence(
            PixelValueTransformationSequence=sequence(RescaleSlope=slope, RescaleIntercept=-10 * slope),
            PlanePositionSequence=sequence(ImagePositionPatient=[10, 20, z]),
            FrameVOILUTSequence=sequence(WindowCenter=40 * slope, WindowWidth=400),
        )[0]
        for slope, z in ((1, 5), (2, 8), (3, 14))
    ]
    return stacked(SharedFunctionalGroupsSequence=shared, PerFrameFunctionalGroupsSequence=frames)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.dcm", ("a.dcm", None)),
        ("b/a.dcm#3", ("b/a.dcm", 3)),
        ("IM1#0", ("IM1", 0)),
        ("a#1.png", ("a#1.png", None)),
        ("#7", ("#7", None)),
    ],
)
def test_a_name_ends_in_a_frame_or_does_not(name, expected):
    assert split_frame(name) == expected


@pytest.mark.parametrize("frame", range(3))
def test_a_frame_of_an_enhanced_file_has_its_own_functional_groups(frame):
    data, slope, z = encode(enhanced()), frame + 1, (5, 8, 14)[frame]
    image = decode(data, f"a.dcm#{frame}")
    assert (image.voxels[0] == FRAMES[frame] * float(slope) - 10 * slope).all()
    assert image.display == (40 * slope - 0.5 - 199.5, 40 * slope - 0.5 + 199.5)
    assert image.spacing_mm == (0.5, 0.25) and np.allclose(image.affine @ [2, 4, 0, 1], [-11, -21, z, 1])
    assert count_frames(data, "a.dcm") == 3


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=["pydicom", "imagecodecs"])
def test_a_frame_of_a_compressed_file(syntax):
    data = stacked()
    if syntax == RLELossless:
        data.compress(RLELossless)
    else:
        import imagecodecs
        from pydicom.encaps import encapsulate

        data.PixelData = encapsulate([imagecodecs.jpegls_encode(frame) for frame in FRAMES])
        data["PixelData"].VR, data.file_meta.TransferSyntaxUID = "OB", UID(JPEGLSLossless)
    for frame, expected in enumerate(FRAMES):
        assert (decode(encode(data), f"a.dcm#{frame}").voxels[0] == expected).all()


@pytest.mark.parametrize(
    ("name", "frames", "shape"),
    [
        ("examples_ybr_color.dcm", 30, (3, 240, 320)),
        ("SC_rgb_rle_2frame.dcm", 2, (3, 100, 100)),
        ("SC_rgb_rle_16bit_2frame.dcm", 2, (3, 100, 100)),
        ("rtdose_rle.dcm", 15, (1, 10, 10)),
    ],
)
def test_every_frame_of_a_real_file_is_as_pydicom_reads_it(name, frames, shape):
    data = real(name)
    assert count_frames(data, name) == frames
    header = pydicom.dcmread(io.BytesIO(data))
    expected = pydicom.pixels.apply_modality_lut(header.pixel_array, header)
    for frame in range(0, frames, 7):
        voxels = decode(data, f"{name}#{frame}").voxels
        assert voxels.shape == shape
        assert np.array_equal(voxels, expected[frame].transpose(2, 0, 1) if shape[0] == 3 else expected[frame][None])


def test_frames_of_a_dose_grid_lie_where_their_offsets_say():
    data = real("rtdose.dcm")
    header = pydicom.dcmread(io.BytesIO(data))
    first, last = (decode(data, f"rtdose.dcm#{frame}").affine for frame in (0, 14))
    assert np.allclose(last[:3, 3] - first[:3, 3], [0, 0, header.GridFrameOffsetVector[14]])
    assert header.GridFrameOffsetVector[14] != 0 and np.allclose(last[:, :2], first[:, :2])


def test_a_page_of_a_tiff():
    file = io.BytesIO()
    pages = np.arange(120, dtype=np.uint16).reshape(3, 5, 8)
    tifffile.imwrite(file, pages, photometric="minisblack")
    data = file.getvalue()
    assert count_frames(data, "a.tif") == 3
    for page in range(3):
        assert (decode(data, f"a.tif#{page}").voxels[0] == pages[page]).all()
    with pytest.raises(InputError, match=r"page 3 of a TIFF of 3, counted from 0"):
        decode(data, "a.tif#3")
    with pytest.raises(InputError, match=r"3 pages, expected 1, or a name that ends in #0 to #2"):
        decode(data, "a.tif")


def torn() -> bytes:
    data = enhanced()
    del data.PerFrameFunctionalGroupsSequence[2]
    return encode(data)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (encode(stacked()), "a.dcm", "DICOM of 3 frames, expected 1, or a name that ends in #0 to #2"),
        (encode(stacked()), "a.dcm#3", "frame 3 of a DICOM of 3, counted from 0"),
        (encode(dataset()), "a.dcm#1", "frame 1 of a DICOM of 1"),
        (torn(), "a.dcm#0", "DICOM of 3 frames, with functional groups of 2"),
        (b"", "a.png#0", "frame 0 of a JPEG or PNG file, which has one image"),
    ],
    ids=["none chosen", "beyond the last", "of one", "torn groups", "PNG"],
)
def test_a_frame_that_is_none_is_said_in_one_line_that_names_nobody(content, name, reason):
    with pytest.raises(InputError, match=reason) as caught:
        decode(content, name)
    assert NAME not in str(caught.value)
