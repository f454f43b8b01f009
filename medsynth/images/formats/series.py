"""A series of single-frame DICOM files, one a slice, as one volume. No message quotes a header's text or a file's name:
they may identify a person. A slice is named by its place among the files in the order of their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from medsynth.errors import InputError
from medsynth.images.formats import dicom
from medsynth.images.formats.orientation import turn_to_ras
from medsynth.images.image import MAX_BYTES, Image, refuse_oversized

if TYPE_CHECKING:
    from pydicom import Dataset

LEAST_SLICES = 2
STATED = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
SAME_COSINE = 1e-3  # of an orientation, whose decimals are rounded
SAME_SHARE = 1e-3  # of a pixel spacing
SAME_MM = 1e-3  # two slices nearer than this are at one place
UNEVEN = 0.05  # of a gap: how far a slice may be from where an even series has it, along the normal or beside it
SLANT = 0.01  # mm that slices may move sideways for each mm along the normal; the affine keeps so much
Part = TypeVar("Part")


@dataclass(frozen=True)
class _Slice:
    """What the header of one file says of its place.

    Attributes:
        position: (3,) of the first voxel, mm in LPS+.
        axes: (2, 3) directions along a row and down a column, unit vectors in LPS+.
        spacing_mm: between rows, between columns.
    """

    series: str
    position: np.ndarray
    axes: np.ndarray
    spacing_mm: np.ndarray
    shape: tuple[int, int]


def decode(read: Callable[[int], bytes], count: int) -> tuple[Image, str]:
    """Decode a series: its headers first, then slice by slice into the volume.

    Args:
        read: number of a file from 0, in the order of their names → its content. Each is read twice.
        count: of files.
    Returns:
        The volume in RAS+, in the modality's unit, and the SHA-256 of the files' contents one after the other.
    Raises:
        InputError: fewer than two files, no DICOM, several series, sizes, orientations or spacings, slices that are not
            even along their normal, a tilted gantry, or more than an image may hold.
    """
    if count < LEAST_SLICES:
        raise InputError(f"a folder of {count} files, expected a DICOM series of {LEAST_SLICES} slices or more")
    whole = hashlib.sha256()
    slices: list[_Slice] = []
    size = 0
    for number in range(count):
        data = read(number)
        size += len(data)
        if size > MAX_BYTES:
            raise InputError(f"files of more than {MAX_BYTES:,} bytes together")
        whole.update(data)
        slices.append(_of_file(_header, data, number, count))
        if number == 0:
            refuse_oversized((count, *slices[0].shape))
    order, affine = _arrange(slices)
    return _fill(read, order, affine, slices[0].shape), whole.hexdigest()


def _fill(read: Callable[[int], bytes], order: np.ndarray, affine: np.ndarray, shape: tuple[int, int]) -> Image:
    """The volume, from one slice in memory at a time.

    Args:
        order: (slices,) numbers of the files along the normal.
        affine: 4x4, (slice, row, column) → mm, RAS+.
    """
    volume = np.empty((len(order), *shape), np.float32)
    padding = np.zeros(volume.shape, bool)
    seen: list[Image] = []
    for place, number in enumerate(order.tolist()):
        image = _of_file(_grey, read(number), number, len(order))
        if image.spatial_shape != shape:
            raise InputError(f"{_named(number, len(order))}: changed while it was read")
        volume[place] = image.voxels[0]
        if image.padding is not None:
            padding[place] = image.padding
        seen.append(
            Image(np.empty((1, 0, 0)), None, image.display, image.dicom_code, image.bits, None, image.burned_in)
        )
    if len(codes := {image.dicom_code for image in seen}) > 1:
        raise InputError(f"DICOM of {len(codes)} modalities in one series")
    xyz = affine[:, [2, 1, 0, 3]]
    turned, turned_affine = turn_to_ras(volume.T, xyz)
    displays = {image.display for image in seen}
    bits = [image.bits for image in seen if image.bits is not None]
    return Image(
        turned[None],
        turned_affine,
        displays.pop() if len(displays) == 1 else None,
        codes.pop(),
        max(bits) if bits else None,
        turn_to_ras(padding.T, xyz)[0] if padding.any() else None,
        any(image.burned_in for image in seen),
    )


def _of_file(work: Callable[[bytes], Part], data: bytes, number: int, count: int) -> Part:
    """What a file's content gives; whatever is wrong with it names the file by its place."""
    try:
        return work(data)
    except InputError as error:
        raise InputError(f"{_named(number, count)}: {error}") from None
    except Exception as error:  # damaged headers make pydicom raise anything
        raise InputError(f"{_named(number, count)}: cannot be decoded as DICOM ({type(error).__name__})") from None


def _named(number: int, count: int) -> str:
    return f"file {number + 1} of {count} by name"


def _header(data: bytes) -> _Slice:
    header = dicom.read_header(data, stop_before_pixels=True)
    dicom.raise_functional_groups(header, 0)
    if missing := [name for name in STATED if not header.get(name)]:
        raise InputError(f"no {missing[0]}, which a slice of a series needs")
    found = _Slice(
        str(header.SeriesInstanceUID),
        np.array(header.ImagePositionPatient, float),
        np.array(header.ImageOrientationPatient, float).reshape(2, 3),
        np.array(header.PixelSpacing, float),
        (int(header.Rows), int(header.Columns)),
    )
    _refuse_bad_geometry(header, found)
    return found


def _refuse_bad_geometry(header: Dataset, found: _Slice) -> None:
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        raise InputError("MONOCHROME1, expected MONOCHROME2 in a series: each slice would be mirrored on its own")
    if found.position.shape != (3,) or not np.isfinite(found.position).all():
        raise InputError("ImagePositionPatient is no place, expected three numbers in mm")
    if found.spacing_mm.shape != (2,) or not (np.isfinite(found.spacing_mm) & (found.spacing_mm > 0)).all():
        raise InputError("PixelSpacing is no length, expected two numbers above 0 in mm")
    if not np.abs(found.axes @ found.axes.T - np.eye(2)).max() <= SAME_COSINE:  # also where one is NaN
        raise InputError("ImageOrientationPatient is not two unit vectors at right angles")


def _grey(data: bytes) -> Image:
    image = dicom.decode(data)
    if len(image.voxels) != 1:
        raise InputError(f"{len(image.voxels)} colour channels, expected grey slices")
    return image


def _arrange(slices: Sequence[_Slice]) -> tuple[np.ndarray, np.ndarray]:
    """The order of slices along their normal, and the affine of (slice, row, column) → mm, RAS+.

    Source: DICOM PS3.3 C.7.6.2.1.1; the slice axis is the mean step between positions, not SliceThickness, which says
    nothing of gaps.
    """
    first = slices[0]
    if len({each.series for each in slices}) > 1:
        raise InputError(f"{len({each.series for each in slices})} series in one folder, expected one")
    for number, each in enumerate(slices):
        name = _named(number, len(slices))
        if each.shape != first.shape:
            raise InputError(f"{name}: {each.shape} pixels, the first file has {first.shape}")
        if np.abs(each.axes - first.axes).max() > SAME_COSINE:
            raise InputError(f"{name}: another orientation than the first file's")
        if np.abs(each.spacing_mm / first.spacing_mm - 1).max() > SAME_SHARE:
            raise InputError(f"{name}: another pixel spacing than the first file's")
    axes = first.axes / np.linalg.norm(first.axes, axis=1, keepdims=True)
    normal = np.cross(*axes)
    normal /= np.linalg.norm(normal)
    positions = np.array([each.position for each in slices])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    step = _even_step(positions, normal)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = axes[1] * first.spacing_mm[0]
    affine[:3, 2] = axes[0] * first.spacing_mm[1]
    affine[:3, 3] = positions[0]
    return order, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _even_step(positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(3,) mm from a slice to the next one.

    Args:
        positions: (slices, 3), in their order along the normal.
    Raises:
        InputError: they are not on a line along the normal, at even distances.
    """
    along = positions @ normal
    gaps = np.diff(along)
    if same := int((gaps < SAME_MM).sum()):
        raise InputError(f"{same} of {len(positions)} slices are at the place of another one, expected one volume")
    usual = float(np.median(gaps))
    widest = float(gaps.max())
    missing = int(np.rint(gaps / usual).sum()) - len(gaps)
    step = (positions[-1] - positions[0]) / len(gaps)
    away = positions - positions[0] - np.arange(len(positions))[:, None] * step
    if np.abs(away @ normal).max() > UNEVEN * usual:
        if missing > 0 and np.abs(gaps / usual - np.rint(gaps / usual)).max() <= UNEVEN:
            raise InputError(f"{missing} slices are missing: a gap of {widest:g} mm, most are {usual:g} mm")
        raise InputError(f"uneven slices: gaps from {gaps.min():g} to {widest:g} mm, expected one for all")
    sideways = step - step @ normal * normal
    slant = float(np.linalg.norm(sideways) / (step @ normal))
    if slant > SLANT:
        degrees = np.degrees(np.arctan(slant))
        raise InputError(
            f"slices are sheared by {degrees:.1f} degrees, as by a tilted gantry: resample them upright first"
        )
    if np.abs(away).max() > UNEVEN * usual:
        raise InputError("slices are not on one line: some are moved sideways")
    return step
