"""DICOM: the image of a file, or one frame of several; `series` makes a volume of files of one frame each.

No message quotes a header's text: it may identify a person.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medsynth.errors import InputError
from medsynth.images.formats.format import Format
from medsynth.images.image import MAX_BYTES, Image, refuse_oversized

if TYPE_CHECKING:
    from pydicom import Dataset

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
INFLATED_TOGETHER = 2**24  # bytes
PREAMBLE = 132  # bytes, with the four letters that end it
# Of an enhanced DICOM: where it keeps what other files state at the top (PS3.3 C.7.6.16.2).
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
MACROS = (
    "PixelValueTransformationSequence",
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "FrameVOILUTSequence",
)
# Compressions that pydicom has no decoder of its own for, and what imagecodecs decodes a frame by: JPEG Extended of
# more than 8 bits, JPEG Lossless, JPEG-LS, and High-Throughput JPEG 2000 (PS3.5 A.4).
CODECS = {
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "ljpeg",
    "1.2.840.10008.1.2.4.70": "ljpeg",
    "1.2.840.10008.1.2.4.80": "jpegls",
    "1.2.840.10008.1.2.4.81": "jpegls",
    "1.2.840.10008.1.2.4.201": "jpeg2k",
    "1.2.840.10008.1.2.4.202": "jpeg2k",
    "1.2.840.10008.1.2.4.203": "jpeg2k",
}
ALONG_AXES = (1, 0, 0, 0, 1, 0)  # a row to the patient's left, a column to the back
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def has_preamble(data: bytes) -> bool:
    """Whether the content is a DICOM file (PS3.10 section 7.1)."""
    return data[128:132] == b"DICM"


def decode(data: bytes) -> Image:
    """Decode a DICOM file of one frame; see `decode_frame`.

    Raises:
        InputError: as `decode_frame`, or several frames.
    """
    return _decode(data, None)


def count_frames(data: bytes) -> int:
    """NumberOfFrames, 1 where it is not stated; the pixels are not read."""
    return _count(read_header(data, stop_before_pixels=True))


def decode_frame(data: bytes, frame: int) -> Image:
    """Decode one frame, counted from 0.

    Voxels are in the modality's unit (after rescale slope and intercept, or the modality LUT). MONOCHROME1 is
    mirrored within the display range, so that larger is always brighter. What an enhanced file states in functional
    groups, of this frame or of all, counts as if it stood at the top.

    Raises:
        InputError: no DICOM, no pixels, no such frame, too large, palette colour, or no decoder for its compression.
    """
    return _decode(data, frame)


def _decode(data: bytes, chosen: int | None) -> Image:
    import pydicom  # costs 0.3 s, which a collection of JPEGs need not pay

    header = read_header(data)
    frame = _frame(header, chosen)
    stored = _stored_values(header, frame)
    raise_functional_groups(header, frame)
    _place_in_grid(header, frame)
    affine, code = _affine(header), str(header.get("Modality", ""))
    burned_in = str(header.get("BurnedInAnnotation") or "").strip().upper() == "YES"
    if header.PhotometricInterpretation in COLOUR:
        bits = int(header.BitsStored)
        colour = np.moveaxis(stored, -1, 0)
        return Image(colour, affine, (0.0, 2.0**bits - 1), code, bits=bits, burned_in=burned_in)
    voxels = pydicom.pixels.apply_modality_lut(stored, header).astype(np.float32)
    low, high = _display(header)
    if header.PhotometricInterpretation == "MONOCHROME1":
        voxels = np.float32(low + high) - voxels
    return Image(
        voxels[None], affine, (low, high), code, _bits_without_unit(header), _padding(stored, header), burned_in
    )


def read_header(data: bytes, stop_before_pixels: bool = False) -> Dataset:
    """The header of a file.

    Raises:
        InputError: no DICOM, or one that inflates beyond the limit.
    """
    import pydicom

    if not has_preamble(data):
        raise InputError("not a DICOM file: no preamble")
    _refuse_inflated(data)
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=stop_before_pixels)


def _count(header: Dataset) -> int:
    return int(header.get("NumberOfFrames") or 1)


def _frame(header: Dataset, chosen: int | None) -> int:
    """The number of the frame to decode: the one chosen, else the only one."""
    frames = _count(header)
    if chosen is None and frames != 1:
        raise InputError(f"DICOM of {frames} frames, expected 1, or a name that ends in #0 to #{frames - 1}")
    if chosen is not None and chosen >= frames:
        raise InputError(f"frame {chosen} of a DICOM of {frames}, counted from 0")
    return chosen or 0


def _refuse_inflated(data: bytes) -> None:
    """Inflate a deflated file (PS3.5 A.5) up to the limit, before pydicom inflates all of it to read its header."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    # Few files hold it, and all others are spared the second reading.
    if DeflatedExplicitVRLittleEndian.encode() not in data:
        return
    file = io.BytesIO(data)
    file.seek(PREAMBLE)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        stream, left, size = zlib.decompressobj(-zlib.MAX_WBITS), data[file.tell() :], 0
        while left:
            size += len(stream.decompress(left, INFLATED_TOGETHER))
            left = stream.unconsumed_tail
            if size > MAX_BYTES:
                raise InputError(f"deflated DICOM of more than {MAX_BYTES:,} bytes")


def _stored_values(header: Dataset, frame: int) -> np.ndarray:
    """One frame: (rows, columns) or (rows, columns, 3) as stored, colour as RGB."""
    from pydicom.pixels import get_decoder, pixel_array

    if not any(key in header for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise InputError("DICOM without pixels")
    refuse_oversized((header.Rows, header.Columns))
    kind = header.PhotometricInterpretation
    if kind not in MONOCHROME + COLOUR:
        raise InputError(f"photometric interpretation is none of {', '.join(MONOCHROME + COLOUR)}")
    syntax = header.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    # A name that is not in the standard's list would be the file's own text.
    name = syntax.name if syntax.name != str(syntax) else "of no known name"
    ours = syntax in CODECS and (not available or header.BitsStored > 8)
    if not available and not ours:
        raise InputError(f"no decoder is installed for the transfer syntax {name}")
    try:
        return _by_imagecodecs(header, CODECS[syntax], frame) if ours else pixel_array(header, index=frame)
    except Exception as error:  # damaged pixels make decoders raise anything
        raise InputError(f"pixels cannot be decoded ({type(error).__name__}, {name})") from None


def _by_imagecodecs(header: Dataset, codec: str, frame: int) -> np.ndarray:
    """One frame, decoded; raises anything where it is damaged, or not of the size that the header states."""
    import imagecodecs
    from pydicom.encaps import get_frame
    from pydicom.pixels import convert_color_space

    offsets = (header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths"))
    of_frame = get_frame(
        header.PixelData, frame, number_of_frames=_count(header), extended_offsets=offsets if all(offsets) else None
    )
    stored = getattr(imagecodecs, f"{codec}_decode")(of_frame)
    expected = (header.Rows, header.Columns, *([3] if header.SamplesPerPixel == 3 else []))
    if stored.shape != expected:
        raise ValueError(f"{stored.shape} pixels, the header has {expected}")
    if header.PixelRepresentation:
        shift = 8 * stored.dtype.itemsize - header.BitsStored  # the sign is the highest bit that is stored
        signed = np.dtype(f"i{stored.dtype.itemsize}")
        stored = np.left_shift(stored, shift).view(signed) >> shift
    if codec != "jpeg2k" and header.PhotometricInterpretation.startswith("YBR_FULL"):
        stored = convert_color_space(stored, "YBR_FULL", "RGB")
    return stored


def raise_functional_groups(header: Dataset, frame: int) -> None:
    """Put what the functional groups of a frame state where it is looked for, unless something stands there."""
    shared, own = (header.get(groups) or () for groups in FUNCTIONAL_GROUPS)
    if own and len(own) != _count(header):
        raise InputError(f"DICOM of {_count(header)} frames, with functional groups of {len(own)}")
    for groups in (own[frame : frame + 1], shared[:1]):
        for group in groups:
            for macro in MACROS:
                for item in (group.get(macro) or ())[:1]:
                    for element in item:
                        if element.tag not in header:
                            header.add(element)


def _place_in_grid(header: Dataset, frame: int) -> None:
    """Move the one position of a file whose frames are stacked by GridFrameOffsetVector (PS3.3 C.8.8.3.2)."""
    offsets_mm, first = header.get("GridFrameOffsetVector"), header.get("ImagePositionPatient")
    if first and isinstance(offsets_mm, Sequence) and len(offsets_mm) == _count(header) and offsets_mm[0] == 0:
        normal = np.cross(*np.array(header.get("ImageOrientationPatient") or ALONG_AXES, float).reshape(2, 3))
        header.ImagePositionPatient = [*(np.array(first, float) + normal * float(offsets_mm[frame]))]


def _bits_without_unit(header: Dataset) -> int | None:
    """How many bits hold each value of 8 bits or fewer that nothing turns into a unit, as of a picture of a screen."""
    has_unit = "RescaleSlope" in header or "ModalityLUTSequence" in header or header.PixelRepresentation
    return None if has_unit or header.BitsStored > 8 else int(header.BitsStored)


def _padding(stored: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Where a stored value is padding: PixelPaddingValue, or from it to PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2)."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit")
    half = 2 ** (header.BitsAllocated - 1)
    ends = (int(value), int(value if limit is None else limit))
    # Some files with signed values state theirs as if they were unsigned: -2000 as 63536.
    low, high = sorted(end - 2 * half if header.PixelRepresentation and end >= half else end for end in ends)
    padding = (stored >= low) & (stored <= high)
    return padding if padding.any() else None


def _display(header: Dataset) -> tuple[float, float]:
    """The VOI window, or the domain of the VOI LUT, or the range of the stored bits, in the modality's unit.

    Source: DICOM PS3.3 C.11.2.1.2.1 (LINEAR) and C.11.2.1.3.2 (LINEAR_EXACT); a sigmoid's window is taken as linear.
    """
    from pydicom.pixels import apply_modality_lut

    if header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        centre, width = (float(np.atleast_1d(value)[0]) for value in (header.WindowCenter, header.WindowWidth))
        if width > 1 and header.get("VOILUTFunction", "LINEAR") == "LINEAR":
            return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        if width > 0:
            return centre - width / 2, centre + width / 2
    if header.get("VOILUTSequence"):
        entries, first, _ = header.VOILUTSequence[0].LUTDescriptor
        return float(first), float(first + (entries or 65536) - 1)
    signed, bits = header.PixelRepresentation, header.BitsStored
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    low, high = sorted(apply_modality_lut(ends, header).astype(float).tolist())
    return low, high


def _affine(header: Dataset) -> np.ndarray | None:
    """(row, column) → mm in RAS+ (PS3.3 C.7.6.2.1.1 gives it in LPS+); the axes alone where no position is stated."""
    spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    if not spacing:
        return None
    row_mm, column_mm = (float(value) for value in spacing)
    along_row, along_column = np.array(header.get("ImageOrientationPatient") or ALONG_AXES, float).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = along_column * row_mm
    affine[:3, 1] = along_row * column_mm
    affine[:3, 2] = np.cross(along_row, along_column) * float(header.get("SliceThickness") or 1)
    affine[:3, 3] = header.get("ImagePositionPatient") or (0, 0, 0)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


DICOM = Format("DICOM", decode, decode_frame=decode_frame, count_frames=count_frames)
