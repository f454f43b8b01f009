import io

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    MPEG2MPML,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from medsynth.errors import InputError
from medsynth.images.formats.files import decode

STORED = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100
NAME = "ROENTGEN^ANNA"


def dataset(stored=STORED, photometric="MONOCHROME2", **header):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID = NAME, NAME
    data.Modality = "CT"
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = 8 * stored.dtype.itemsize
    data.BitsStored = 8 if stored.dtype.itemsize == 1 else 12
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        data.PlanarConfiguration = 0
    data.PixelData = stored.tobytes()
    for key, value in header.items():
        setattr(data, key, value)
    return data


def encode(data):
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_rescale_gives_hounsfield_units_and_the_window_the_display_range():
    # PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white from c - 0.5 + (w - 1) / 2
    data = dataset(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=[40, 300], WindowWidth=[400, 1500])
    image = decode(encode(data), "a.dcm")
    assert (image.voxels[0] == STORED * 2.0 - 1024).all()
    assert image.display == (-160, 239) and image.dicom_code == "CT"


def test_exact_window():
    data = dataset(WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert decode(encode(data), "a.dcm").display == (-160, 240)


def test_voi_lut_shows_its_domain():
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [1000, 50, 16], b"\0\0" * 1000
    assert decode(encode(dataset(VOILUTSequence=[lut])), "a.dcm").display == (50, 1049)


def test_without_a_window_the_stored_bits_are_the_display_range():
    assert decode(encode(dataset()), "a.dcm").display == (0, 4095)
    signed = dataset(STORED.astype(np.int16) - 500, RescaleSlope=-1, RescaleIntercept=0)
    image = decode(encode(signed), "a.dcm")
    assert image.display == (-2047, 2048) and (image.voxels[0] == 500 - STORED.astype(int)).all()


def test_monochrome1_is_mirrored_so_that_larger_is_brighter():
    image = decode(encode(dataset(photometric="MONOCHROME1")), "a.dcm")
    assert (image.voxels[0] == 4095 - STORED.astype(int)).all() and image.display == (0, 4095)


def test_colour_and_a_known_file_without_suffix():
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    image = decode(encode(dataset(colour, "RGB")), "IM0001")
    assert (image.voxels == colour.transpose(2, 0, 1)).all() and image.display == (0, 255)


def test_affine_turns_lps_into_ras():
    data = dataset(
        PixelSpacing=[0.5, 0.25],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[10, 20, 30],
        SliceThickness=3,
    )
    image = decode(encode(data), "a.dcm")
    assert image.spacing_mm == (0.5, 0.25)
    # row 2, column 4 lies 1 mm to the left (LPS x) and 1 mm to the back (LPS y) of the first pixel
    assert np.allclose(image.affine @ [2, 4, 0, 1], [-11, -21, 30, 1])


def test_run_length_coded_pixels():
    data = dataset()
    data.compress(RLELossless)
    assert (decode(encode(data), "a.dcm").voxels[0] == STORED).all()


def sequence(**attributes):
    item = Dataset()
    for key, value in attributes.items():
        setattr(item, key, value)
    return [item]


def test_padding_is_one_value_or_a_range_of_stored_values():
    assert decode(encode(dataset()), "a.dcm").padding is None
    one = decode(encode(dataset(PixelPaddingValue=300, RescaleSlope=2, RescaleIntercept=-1024)), "a.dcm")
    assert (one.padding == (STORED == 300)).all() and one.padding.sum() == 1
    signed = dataset(STORED.astype(np.int16) - 500, PixelPaddingValue=-300, PixelPaddingRangeLimit=-500)
    assert (decode(encode(signed), "a.dcm").padding == (STORED <= 200)).all()
    unsigned = dataset(STORED.astype(np.int16) - 500)
    unsigned.add_new("PixelPaddingValue", "US", 65536 - 300)
    assert (decode(encode(unsigned), "a.dcm").padding == (STORED == 200)).all()
    dark = decode(encode(dataset(photometric="MONOCHROME1", PixelPaddingValue=0)), "a.dcm")
    assert (dark.padding == (STORED == 0)).all()
    assert decode(encode(dataset(PixelPaddingValue=7)), "a.dcm").padding is None  # no pixel has it


def test_what_an_enhanced_file_states_in_its_functional_groups_counts():
    shared = sequence(
        PixelValueTransformationSequence=sequence(RescaleSlope=2, RescaleIntercept=-1024, RescaleType="HU"),
        PixelMeasuresSequence=sequence(PixelSpacing=[0.5, 0.25], SliceThickness=3),
        PlaneOrientationSequence=sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
    )
    frame = sequence(
        PlanePositionSequence=sequence(ImagePositionPatient=[10, 20, 30]),
        FrameVOILUTSequence=sequence(WindowCenter=40, WindowWidth=400),
    )
    header = dataset(SharedFunctionalGroupsSequence=shared, PerFrameFunctionalGroupsSequence=frame, NumberOfFrames=1)
    image = decode(encode(header), "a.dcm")
    assert (image.voxels[0] == STORED * 2.0 - 1024).all() and image.display == (-160, 239)
    assert image.spacing_mm == (0.5, 0.25) and np.allclose(image.affine @ [2, 4, 0, 1], [-11, -21, 30, 1])
    of_frame = sequence(PixelValueTransformationSequence=sequence(RescaleSlope=3, RescaleIntercept=5))
    image = decode(encode(dataset(PerFrameFunctionalGroupsSequence=of_frame)), "a.dcm")
    assert (image.voxels[0] == STORED * 3.0 + 5).all()


@pytest.mark.parametrize(("stated", "burned_in"), [("YES", True), ("NO", False), ("", False), (None, False)])
def test_text_in_the_pixels_is_known(stated, burned_in):
    header = {} if stated is None else {"BurnedInAnnotation": stated}
    assert decode(encode(dataset(**header)), "a.dcm").burned_in == burned_in


def test_a_picture_of_8_bits_that_nothing_rescales_has_no_unit():
    small = (STORED // 10).astype(np.uint8)
    assert decode(encode(dataset(small)), "a.dcm").bits == 8
    assert decode(encode(dataset(small, RescaleSlope=1, RescaleIntercept=-1024)), "a.dcm").bits is None
    assert decode(encode(dataset()), "a.dcm").bits is None


def broken(**changes):
    data = dataset()
    for key, value in changes.items():
        if value is None:
            delattr(data, key)
        else:
            setattr(data, key, value)
    return encode(data)


def compressed_without_decoder():
    data = dataset()
    data.compress(RLELossless)
    data.file_meta.TransferSyntaxUID = MPEG2MPML
    return encode(data)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (broken(PixelData=None), "without pixels"),
        (broken(NumberOfFrames=3), "3 frames, expected 1"),
        (broken(Rows=40_000, Columns=40_000), "40,000 x 40,000"),
        (broken(PixelData=STORED.tobytes()[:-6]), "cannot be decoded"),
        (broken(PhotometricInterpretation="PALETTE COLOR"), "photometric"),
        (broken(Rows=None), "cannot be decoded as DICOM"),
        (encode(dataset())[:300], "DICOM"),
        (broken(WindowCenter="40", WindowWidth="400.0000").replace(b"400.0000", b"ANNA0000"), "DICOM"),
        (compressed_without_decoder(), "no decoder is installed for the transfer syntax MPEG2"),
        (b"no preamble", "no preamble"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # its bytes hold another UID in every process
)
@pytest.mark.filterwarnings("error")
def test_what_is_wrong_is_said_in_one_line_that_names_nobody(content, reason, caplog):
    with pytest.raises(InputError) as caught:
        decode(content, "a.dcm")
    said = str(caught.value) + caplog.text
    assert reason in said and "\n" not in said
    assert NAME not in said and "ANNA" not in said


@pytest.mark.filterwarnings("error")
def test_a_damaged_header_field_reaches_no_log(caplog):
    content = encode(dataset(Modality="QQQQ")).replace(b"QQQQ", b"Anna")  # no lower case in a CS
    assert decode(content, "a.dcm").voxels.shape == (1, 3, 4)
    assert caplog.text == ""
