"""The release as DICOM: a folder of files for each sample, one file a slice, marked as synthetic data.

CT and MR objects where images are of these modalities and state their spacing, else Secondary Capture. Identifiers are
derived from the sample and from what made it, so that the same release has the same ones; nothing names a patient.

Source: DICOM PS3.3 A.3 (CT), A.4 (MR), A.8.1 (Secondary Capture), C.12.1 (Synthetic Data, Contributing Equipment);
PS3.5 B.2 (UIDs from UUIDs).
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth import __version__
from medsynth.artifacts.released import Released
from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES
from medsynth.release.handovers.form import Contents, HandOver, values_of

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

PLACE = "dicom"
PATIENT = "SYN-"
LONGEST_ID = 64 - len(PATIENT)  # of a sample, in an element of VR LO
SYNTHESIZING = ("109100", "DCM", "Synthesizing Equipment")  # PS3.16 CID 7005
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    Attributes:
        sop_class: its UID; attributes: those that only it has, by keyword.
        placed: each slice has a place in mm.
    """

    sop_class: str
    placed: bool
    attributes: Mapping[str, Any]


ACQUIRED = {"AcquisitionNumber": None, "PositionReferenceIndicator": ""}  # nothing was acquired
KINDS = {
    "CT": Kind(
        "1.2.840.10008.5.1.4.1.1.2",
        True,
        ACQUIRED | {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"], "KVP": None, "RescaleType": "HU"},
    ),
    "MR": Kind(
        "1.2.840.10008.5.1.4.1.1.4",
        True,
        ACQUIRED
        | {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "ScanningSequence": "RM", "SequenceVariant": "NONE"}
        | {"ScanOptions": "", "MRAcquisitionType": "", "RepetitionTime": None, "EchoTime": None}
        | {"EchoTrainLength": None, "RescaleType": "US"},
    ),
}
SECONDARY_CAPTURE = Kind(
    "1.2.840.10008.5.1.4.1.1.7",
    False,
    {"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "SYN", "PatientOrientation": "", "RescaleType": "US"},
)


def write(contents: Contents) -> None:
    """Write a folder for each sample."""
    for row, image in contents.samples():
        folder = contents.folder / PLACE / row["sample_id"]
        folder.mkdir(parents=True)
        for number, slice_ in enumerate(_slices(contents, row, image), start=1):
            file = io.BytesIO()
            slice_.save_as(file, enforce_file_format=True)
            (folder / f"{number:04d}.dcm").write_bytes(file.getvalue())


def kind_of(contents: Contents) -> Kind:
    """What the images are: a windowed CT has no Hounsfield units, and an image of no stated spacing no place."""
    of_modality = KINDS.get(MODALITIES[contents.info.modality].dicom_codes[0], SECONDARY_CAPTURE)
    placed = contents.encoder.affine is not None and not contents.info.windowed
    return of_modality if placed else SECONDARY_CAPTURE


def _slices(contents: Contents, row: Mapping[str, str], image: np.ndarray) -> Iterator[Dataset]:
    """The objects of one sample, along the slice axis."""
    kind, grey = kind_of(contents), contents.encoder.grey
    voxels = grey.values(image)
    volume = voxels if voxels.ndim == 4 else voxels[:, None]  # (C, slices, rows, columns)
    affine = contents.encoder.affine
    if affine is not None:
        order = [0, 1, 2, 3] if voxels.ndim == 4 else [2, 0, 1, 3]
        volume, affine = to_patient_left_and_back(volume, RAS_TO_LPS @ affine[:, order])
    for index in range(volume.shape[1]):
        made = _header(contents, kind, row)
        made.InstanceNumber = index + 1
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = _uid(contents, row, f"slice {index}")
        if affine is not None:
            _place(made, kind, affine, index, len(contents.info.size))
        _set_pixels(made, np.ascontiguousarray(np.moveaxis(volume[:, index], 0, -1)), contents)
        yield made


def to_patient_left_and_back(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirror rows and columns so that they run along the axes, not against them, as viewers expect of axial slices.

    Args:
        volume: (C, slices, rows, columns).
        affine: 4x4, (slice, row, column) → mm, LPS+.
    Returns:
        The same voxels at the same places.
    """
    affine = affine.copy()
    for axis in (1, 2):
        direction = affine[:3, axis]
        if direction[np.abs(direction).argmax()] < 0:
            volume = np.flip(volume, axis + 1)
            affine[:3, 3] += direction * (volume.shape[axis + 1] - 1)
            affine[:3, axis] = -direction
    return volume, affine


def _uid(contents: Contents, row: Mapping[str, str], part: str) -> UID:
    """A UID of a part of a sample, the same for the same run."""
    from pydicom.uid import UID

    made_by = contents.made_by
    name = "/".join((made_by.generator, made_by.config, made_by.training_data, row["sample_id"], row["seed"], part))
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}")


def _header(contents: Contents, kind: Kind, row: Mapping[str, str]) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = UID(kind.sop_class)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SyntheticData = "YES"
    patient = PATIENT + row["sample_id"][-LONGEST_ID:]
    made.PatientID = made.PatientName = patient
    for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        setattr(made, empty, "")
    made.StudyID = made.AccessionNumber = ""
    made.StudyInstanceUID = _uid(contents, row, "study")
    made.SeriesInstanceUID = _uid(contents, row, "series")
    made.SeriesNumber = 1
    made.Modality = MODALITIES[contents.info.modality].dicom_codes[0]
    made.StudyDescription = made.SeriesDescription = "Synthetic, not for diagnosis"
    made.DerivationDescription = contents.disclaimer
    made.ImageComments = json.dumps({"requested": values_of(contents.conditions, row)}, ensure_ascii=False)
    made.Manufacturer, made.SoftwareVersions = "medsynth", __version__
    made.BurnedInAnnotation = "NO"
    made.LossyImageCompression = "00"
    made.ContributingEquipmentSequence = [_equipment(contents)]
    for keyword, value in kind.attributes.items():
        setattr(made, keyword, value)
    if kind.placed:
        made.FrameOfReferenceUID = _uid(contents, row, "frame of reference")
    return made


def _equipment(contents: Contents) -> Dataset:
    """The generator, as equipment that contributed to the object."""
    from pydicom import Dataset

    purpose, equipment = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = SYNTHESIZING
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.Manufacturer, equipment.SoftwareVersions = "medsynth", __version__
    equipment.ManufacturerModelName = contents.made_by.family
    made_by = contents.made_by
    equipment.ContributionDescription = f"generator sha256 {made_by.generator}, settings sha256 {made_by.config}"
    return equipment


def _place(made: Dataset, kind: Kind, affine: np.ndarray, index: int, spatial_dims: int) -> None:
    """The spacing, and where the kind has one the place, of a slice (PS3.3 C.7.6.2).

    Args:
        affine: 4x4, (slice, row, column) → mm, LPS+.
    """
    along_slices, along_rows, along_columns = affine[:3, :3].T
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    made.PixelSpacing = [_decimal(spacing_mm[1]), _decimal(spacing_mm[2])]
    if not kind.placed:
        return
    directions = np.concatenate([along_columns / spacing_mm[2], along_rows / spacing_mm[1]])
    made.ImageOrientationPatient = [_decimal(cosine) for cosine in directions]
    made.ImagePositionPatient = [_decimal(mm) for mm in affine[:3, 3] + index * along_slices]
    made.SliceThickness = None  # of a single image it is not known
    if spatial_dims == 3:
        made.SliceThickness = made.SpacingBetweenSlices = _decimal(spacing_mm[0])


def _set_pixels(made: Dataset, pixels: np.ndarray, contents: Contents) -> None:
    """Pixels (rows, columns, channels), and what grey values mean."""
    grey, bits = contents.encoder.grey, 8 * pixels.dtype.itemsize
    made.Rows, made.Columns, made.SamplesPerPixel = pixels.shape
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, 0
    if made.SamplesPerPixel > 1:
        made.PhotometricInterpretation, made.PlanarConfiguration = "RGB", 0
        del made.RescaleType
    else:
        made.RescaleSlope, made.RescaleIntercept = _decimal(grey.slope), _decimal(grey.intercept)
        made.WindowCenter = _decimal((grey.intercept + grey.high) / 2)
        made.WindowWidth = _decimal(grey.high - grey.intercept)
        made.VOILUTFunction = "LINEAR_EXACT"
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    made.add_new("PixelData", "OW" if bits == 16 else "OB", data + b"\0" * (len(data) % 2))


def _decimal(value: float) -> Any:
    """A number in at most 16 characters (PS3.5 6.2, DS)."""
    from pydicom.valuerep import DS

    return DS(float(value) + 0.0, auto_format=True)  # without the sign of a negative zero


def check(released: Released) -> Iterator[str]:
    """Each sample has its series, and each file says that it is synthetic and names no patient."""
    seen: dict[str, list[Dataset]] = {}
    for name in sorted(released.below(PLACE)):
        _, sample_id, *_ = name.split("/")
        found = _read(released, name)
        seen.setdefault(sample_id, []).append(found)
        if found.get("SyntheticData") != "YES" or SYNTHESIZING[0] not in _purposes(found):
            yield f"{name}: does not say of itself that it is synthetic, expected SyntheticData YES and its equipment"
        if str(found.get("PatientID")) != PATIENT + sample_id[-LONGEST_ID:]:
            yield f"{name}: PatientID is not that of the sample, expected {PATIENT}{sample_id[-LONGEST_ID:]}"
        if found.get("BurnedInAnnotation") != "NO":
            yield f"{name}: does not state BurnedInAnnotation NO"
    yield from released.unlike(f"{PLACE}/", set(seen))
    shapes = {tuple((each.get("Rows"), each.get("Columns")) for each in series) for series in seen.values()}
    if len(shapes) > 1:
        yield f"{PLACE}/: series of {len(shapes)} shapes, expected one"
    for sample_id, series in seen.items():
        if len({str(each.get("SeriesInstanceUID")) for each in series}) > 1:
            yield f"{PLACE}/{sample_id}: files of several series, expected one"
    instances = [str(each.get("SOPInstanceUID")) for series in seen.values() for each in series]
    if len(set(instances)) < len(instances):
        yield f"{PLACE}/: {len(instances) - len(set(instances))} files have the SOPInstanceUID of another one"


def _read(released: Released, name: str) -> Dataset:
    import pydicom

    try:
        return pydicom.dcmread(released.folder / name, stop_before_pixels=True)
    except Exception as error:  # damaged headers make pydicom raise anything
        raise InputError(f"{name}: cannot be read as DICOM ({type(error).__name__})") from None


def _purposes(found: Dataset) -> set[str]:
    return {
        str(purpose.get("CodeValue"))
        for equipment in found.get("ContributingEquipmentSequence") or ()
        for purpose in equipment.get("PurposeOfReferenceCodeSequence") or ()
    }


DICOM = HandOver(
    PLACE,
    f"`{PLACE}/`: a series of DICOM files for each sample, marked by SyntheticData (0008,001C), for viewers and PACS.",
    write,
    check,
)
