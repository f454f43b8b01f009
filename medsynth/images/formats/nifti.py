"""NIfTI-1 and -2 in one file, plain or in a gzip: volumes in RAS+, and single slices.

A file's axes are (x, y, z); ours are (z, y, x), as slices, rows and columns are, and the affine's columns with them.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from medsynth.errors import InputError
from medsynth.images.formats.format import Format
from medsynth.images.formats.orientation import turn_to_ras
from medsynth.images.image import MAX_BYTES, Image, refuse_oversized

GZIP_SIGNATURE = b"\x1f\x8b"
UNFOLDED_TOGETHER = 2**24  # bytes
HEADER_BYTES = {348: "Nifti1Image", 540: "Nifti2Image"}  # the first number of a file says which of the two it is
MM = {"meter": 1e3, "micron": 1e-3}  # any other unit is taken as mm, as most programs do
SPATIAL_DIMS = 3
COMMENT = 6  # code of a header extension of plain text
ALIGNED = 2  # code of an affine that belongs to no scanner
DESCRIPTION_BYTES = 79


def decode(data: bytes, frame: int | None = None) -> Image:
    """Decode a volume, or an image where the third axis has one slice.

    Voxels are as the header's slope and intercept scale them. A volume is turned to RAS+: x to the right, y to the
    front, z up. A single slice keeps its rows and columns.

    Args:
        frame: the volume of a series in time, from 0; None refuses a file of several.
    Raises:
        InputError: no NIfTI, truncated, too large, several volumes, complex or RGB, or no affine that can be used.
    """
    data = _unfolded(data)
    file = _opened(data)
    header = file.header
    _refuse_mended(type(header)(data[: header.sizeof_hdr], check=False))
    whole = header.get_data_shape()
    shape, frames = _one_volume(whole, frame)
    refuse_oversized(shape)
    dtype = header.get_data_dtype()
    if dtype.kind not in "uif":
        raise InputError(f"voxels of type {dtype.name[:20]}, expected integers or floats")
    expected = file.dataobj.offset + dtype.itemsize * math.prod(whole)
    if len(data) < expected:
        raise InputError(f"truncated: {len(data):,} bytes, its header says {expected:,}")

    affine = _affine(header)
    stored = file.dataobj[..., frame] if frames > 1 else file.dataobj
    values = np.asarray(stored).reshape((*shape, 1)[:SPATIAL_DIMS])
    values = values.astype(np.float32 if values.dtype.kind == "f" else values.dtype.newbyteorder("="), copy=False)
    low, high = float(header["cal_min"]), float(header["cal_max"])
    display = (low, high) if low < high else None
    if values.shape[-1] == 1:
        return Image(values[..., 0].T[None], affine[:, [1, 0, 2, 3]], display)
    volume, affine = turn_to_ras(values, affine)
    return Image(volume[None], affine, display)


def count_volumes(data: bytes) -> int:
    """The volumes of a series in time; 1 of any other file."""
    return _by_frames(_opened(_unfolded(data)).header.get_data_shape())[1]


def _opened(data: bytes) -> Any:
    """The file as nibabel opens it, which reads the header alone."""
    import nibabel

    start = data[:4]
    kind = HEADER_BYTES.get(int.from_bytes(start, "little")) or HEADER_BYTES.get(int.from_bytes(start, "big"))
    if kind is None:
        raise InputError("not a NIfTI file of one part")
    return getattr(nibabel, kind).from_bytes(data)


def _refuse_mended(header) -> None:
    """Refuse what nibabel would set right by itself: a voxel size of 0 becomes 1 mm, an infinite slope none.

    Args:
        header: as the file has it, unchecked.
    """
    sizes = header["pixdim"][1 : 1 + min(SPATIAL_DIMS, int(header["dim"][0]))]
    if not header["sform_code"] > 0 and not (np.isfinite(sizes) & (sizes != 0)).all():
        raise InputError(f"voxel sizes {' x '.join(f'{mm:g}' for mm in sizes)}, expected lengths")
    if np.isinf(header["scl_slope"]):
        raise InputError("an infinite scl_slope, expected a number")


def _one_volume(shape: tuple[int, ...], frame: int | None) -> tuple[tuple[int, ...], int]:
    """The spatial shape of one volume, and how many a file holds.

    Raises:
        InputError: axes beyond time, several volumes of which none is chosen, or fewer than the chosen one.
    """
    shape, frames = _by_frames(shape)
    if len(shape) not in (2, SPATIAL_DIMS):
        raise InputError(f"{len(shape)} axes, expected one volume of {SPATIAL_DIMS}")
    if frame is None and frames != 1:
        ways = f"a name that ends in #0 to #{frames - 1}; source.frame: 0 takes the first of each"
        raise InputError(f"4 axes: {frames} volumes, expected one, or {ways}")
    if frame is not None and frame >= frames:
        raise InputError(f"volume {frame} of a NIfTI of {frames}, counted from 0")
    return shape, frames


def _by_frames(shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The shape without axes of length 1 at its end and without that of time, and the length of this one."""
    while len(shape) > SPATIAL_DIMS and shape[-1] == 1:
        shape = shape[:-1]
    return (shape[:SPATIAL_DIMS], shape[SPATIAL_DIMS]) if len(shape) == SPATIAL_DIMS + 1 else (shape, 1)


def _unfolded(data: bytes) -> bytes:
    """The content of a gzip, which may have several members, up to the limit; anything else as it is."""
    if not data.startswith(GZIP_SIGNATURE):
        return data
    parts, size = [], 0
    while data.startswith(GZIP_SIGNATURE):
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        left = data
        while left and not member.eof:
            try:
                parts.append(member.decompress(left, UNFOLDED_TOGETHER))
            except zlib.error:
                raise InputError("damaged gzip") from None
            size += len(parts[-1])
            if size > MAX_BYTES:
                raise InputError(f"gzip of more than {MAX_BYTES:,} bytes")
            left = member.unconsumed_tail
        if not member.eof:
            raise InputError("truncated gzip")
        data = member.unused_data
    return b"".join(parts)


def _affine(header) -> np.ndarray:
    """(x, y, z) of the file → mm, RAS+."""
    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        raise InputError("neither sform nor qform is set: left and right are unknown")
    affine = header.get_best_affine()
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < SPATIAL_DIMS:
        raise InputError("the affine is singular, expected one with a length on each axis")
    return np.diag([*[MM.get(header.get_xyzt_units()[0], 1.0)] * SPATIAL_DIMS, 1.0]) @ affine


def encode(image: Image, slope: float, intercept: float, about: Mapping[str, str]) -> bytes:
    """Encode a volume, or an image as a single slice, as NIfTI-1 in a gzip.

    16 bits are written as int16, which every program reads: as the intensities themselves where these are whole numbers
    that fit, else moved by 2^15, and the intercept with them. sform and qform are the image's affine; without one,
    voxels are of size 1 in no stated unit. `about` stands in a header extension of plain text, its first entries in
    `descrip`.
    """
    import nibabel

    values, intercept = _signed(image.voxels[0].T, slope, intercept)
    if values.ndim < SPATIAL_DIMS:
        values = values[..., None]
    order = [1, 0, 2, 3] if image.voxels.ndim == SPATIAL_DIMS else [2, 1, 0, 3]
    affine = np.eye(4) if image.affine is None else image.affine[:, order]
    file = nibabel.Nifti1Image(values, affine)
    header = file.header
    file.set_sform(affine, ALIGNED)
    file.set_qform(affine, ALIGNED)
    header.set_xyzt_units("unknown" if image.affine is None else "mm")
    header.set_slope_inter(slope, intercept)
    if image.display is not None:
        header["cal_min"], header["cal_max"] = image.display
    header["descrip"] = "; ".join(about.values()).encode()[:DESCRIPTION_BYTES]
    text = "".join(f"{name}: {value}\n" for name, value in about.items())
    header.extensions.append(nibabel.nifti1.Nifti1Extension(COMMENT, text.encode()))
    return gzip.compress(file.to_bytes(), mtime=0)


def _signed(values: np.ndarray, slope: float, intercept: float) -> tuple[np.ndarray, float]:
    """uint16 as int16 with the intercept that leaves values * slope + intercept as they are; uint8 as it is."""
    if values.dtype != np.uint16:
        return values, intercept
    wide = values.astype(np.int32)
    limits = np.iinfo(np.int16)
    if slope == 1 and intercept.is_integer():
        whole = wide + int(intercept)
        if limits.min <= whole.min() and whole.max() <= limits.max:
            return whole.astype(np.int16), 0.0
    return (wide + limits.min).astype(np.int16), intercept - limits.min * slope


def about(data: bytes) -> str:
    """The header extensions of plain text."""
    import nibabel

    unfolded = _unfolded(data)
    decode(data)  # refuses what is no NIfTI
    extensions = nibabel.Nifti1Image.from_bytes(unfolded).header.extensions
    return "\n".join(str(each.text) for each in extensions if each.get_code() == COMMENT)


NIFTI = Format("NIfTI", decode, encode, about, decode, count_volumes)
