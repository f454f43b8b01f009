"""Image files → `Image`, each by the format that its suffix names in `registry.FORMATS`."""

from __future__ import annotations

import logging
import os
import stat
import warnings
from pathlib import Path

import numpy as np

from medsynth import registry
from medsynth.errors import InputError
from medsynth.images.formats.format import Format
from medsynth.images.image import MAX_BYTES, Image

# What they log and warn of quotes header fields, which may name a person.
TALKATIVE = [logging.getLogger(name) for name in ("pydicom", "tifffile", "PIL", "nibabel")]


def find(name: str, data: bytes) -> Format:
    """The format of a file, by its longest suffix that is known, else by its DICOM preamble.

    Raises:
        InputError: neither says what it is.
    """
    suffixes = [suffix for suffix in registry.FORMATS if name.lower().endswith(suffix)]
    if suffixes:
        return registry.FORMATS[max(suffixes, key=len)].load()
    if data[128:132] == b"DICM":
        return registry.FORMATS[".dcm"].load()
    known = " ".join(registry.FORMATS)
    raise InputError(f"unknown file type {Path(name).suffix!r} without a DICOM preamble, expected one of {known}")


def decode(data: bytes, name: str) -> Image:
    """Decode the content of a file.

    Args:
        name: the file's name, for its suffix.
    Raises:
        InputError: what is wrong with the content. It quotes no header text, which may identify a person.
    """
    kind = find(name, data)
    for logger in TALKATIVE:
        if logger.level != logging.CRITICAL:  # setting it takes a third of a small JPEG's time
            logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = kind.decode(data)
    except InputError:
        raise
    except Exception as error:  # damaged bytes make decoders raise anything
        raise InputError(f"cannot be decoded as {kind.name} ({type(error).__name__})") from None
    if image.voxels.dtype.kind not in "uif":
        raise InputError(f"pixels of type {image.voxels.dtype}, expected integers or floats")
    if image.voxels.dtype.kind == "f" and not np.isfinite(image.voxels).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(image.voxels)):,} pixels are not finite")
    return image


def read_bytes(path: str | Path) -> bytes:
    """The content of an image file.

    Raises:
        InputError: no plain file, one that cannot be read, or one larger than any image that could be decoded.
    """
    try:
        # Looked at before it is opened: a named pipe would wait for a writer.
        found = os.stat(path)  # noqa: PTH116 - os.path takes a fifth of pathlib's time, which shows on small files
        if not stat.S_ISREG(found.st_mode):
            raise InputError("not a file")
        if found.st_size > MAX_BYTES:
            raise InputError(f"{found.st_size:,} bytes, expected at most {MAX_BYTES:,}")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None


def read(path: Path) -> Image:
    """Read an image file.

    Raises:
        InputError: the path and what is wrong with it.
    """
    try:
        return decode(read_bytes(path), path.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
