"""Image files → `Image`. A new format is one module with a `decode` and one line in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsynth.errors import InputError
from medsynth.formats import dicom, raster
from medsynth.image import Image


@dataclass(frozen=True)
class Format:
    name: str
    suffixes: tuple[str, ...]
    decode: Callable[[bytes], Image]


DICOM = Format("DICOM", (".dcm", ".dicom"), dicom.decode)
FORMATS = (
    Format("JPEG or PNG", (".jpg", ".jpeg", ".png"), raster.decode_pillow),
    Format("TIFF", (".tif", ".tiff"), raster.decode_tiff),
    DICOM,  # last: it also takes any other suffix, or none, if the content has its preamble
)


def find(name: str, data: bytes) -> Format:
    """The format of a file, by its suffix or its DICOM preamble.

    Raises:
        InputError: neither says what it is.
    """
    for candidate in FORMATS:
        if name.lower().endswith(candidate.suffixes):
            return candidate
    if dicom.has_preamble(data):
        return DICOM
    known = " ".join(suffix for candidate in FORMATS for suffix in candidate.suffixes)
    raise InputError(f"unknown file type {Path(name).suffix!r} without a DICOM preamble, expected one of {known}")


def decode(data: bytes, name: str) -> Image:
    """Decode the content of a file.

    Args:
        name: the file's name, for its suffix.
    Raises:
        InputError: what is wrong with the content. It quotes no header text, which may identify a person.
    """
    kind = find(name, data)
    try:
        image = kind.decode(data)
    except InputError:
        raise
    except Exception as error:  # damaged bytes make decoders raise anything
        raise InputError(f"cannot be decoded as {kind.name} ({type(error).__name__})") from None
    if image.voxels.dtype.kind == "f" and not np.isfinite(image.voxels).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(image.voxels)):,} pixels are not finite")
    return image


def read(path: Path) -> Image:
    """Read an image file.

    Raises:
        InputError: the path and what is wrong with it.
    """
    try:
        return decode(path.read_bytes(), path.name)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
