"""Image files → `Image`, each by the format that its suffix names in `registry.FORMATS`; a folder is a DICOM series.

A name may end in `#` and a number: one frame, page or volume, counted from 0, of a file that has several.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from medsynth import registry
from medsynth.errors import InputError
from medsynth.images.formats.format import Format
from medsynth.images.image import MAX_BYTES, Image

FRAME = re.compile(r"(.+)#(\d{1,9})", re.DOTALL)
Result = TypeVar("Result")
# What they log and warn of quotes header fields, which may name a person.
TALKATIVE = [logging.getLogger(name) for name in ("pydicom", "tifffile", "PIL", "nibabel")]

DICOMDIR = "DICOMDIR"  # lists what a medium holds (PS3.10 section 8)
MAX_SLICES = 10_000


def find(name: str, data: bytes) -> Format:
    """The format of a file, whose name has no frame, by its longest suffix that is known, else by its DICOM preamble.

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


def split_frame(name: str) -> tuple[str, int | None]:
    """The file's name, and the number of the frame that is meant; None where the name ends in none."""
    found = FRAME.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


def decode(data: bytes, name: str, frame: int | None = None) -> Image:
    """Decode the content of a file, or one frame of it.

    Args:
        name: the file's name, for its suffix and the frame.
        frame: the one to take where the name has none, of formats whose files can have several.
    Raises:
        InputError: what is wrong with the content. It quotes no header text, which may identify a person.
    """
    file_name, named = split_frame(name)
    kind = find(file_name, data)
    if named is not None and kind.decode_frame is None:
        raise InputError(f"frame {named} of a {kind.name} file, which has one image")
    chosen = frame if named is None else named
    if chosen is None or kind.decode_frame is None:
        return _checked(_quietly(kind.name, partial(kind.decode, data)))
    return _checked(_quietly(kind.name, partial(kind.decode_frame, data, chosen)))


def count_frames(data: bytes, name: str) -> int:
    """How many images a file has; 1 in formats that hold one alone.

    Raises:
        InputError: the header cannot be read.
    """
    kind = find(name, data)
    return 1 if kind.count_frames is None else _quietly(kind.name, partial(kind.count_frames, data))


def decode_series(paths: Sequence[str]) -> tuple[Image, str]:
    """Decode the files of one DICOM series, a slice each, and their SHA-256 one after the other.

    Args:
        paths: in the order of their names.
    Raises:
        InputError: what is wrong with them. It quotes no header text and no file's name.
    """

    def content(number: int) -> bytes:
        return read_bytes(paths[number])

    image, sha256 = _quietly("a DICOM series", partial(registry.SERIES["dicom"].load(), content, len(paths)))
    return _checked(image), sha256


def _quietly(kind: str, work: Callable[[], Result]) -> Result:
    """Run a decoder: nothing of a header reaches a log, and whatever goes wrong is an InputError.

    Args:
        kind: what it decodes, for the error.
    """
    for logger in TALKATIVE:
        if logger.level != logging.CRITICAL:  # setting it takes a third of a small JPEG's time
            logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
    except InputError:
        raise
    except Exception as error:  # damaged bytes make decoders raise anything
        raise InputError(f"cannot be decoded as {kind} ({type(error).__name__})") from None


def _checked(image: Image) -> Image:
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


def members(folder: str | Path) -> list[str]:
    """The names of a folder's files in their order, without hidden ones and the index of a medium, DICOMDIR.

    Raises:
        InputError: it cannot be read, holds another folder, or more files than a volume has slices.
    """
    names: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith(".") or entry.name == DICOMDIR:
                    continue
                if entry.is_dir():
                    raise InputError("a folder in a folder, expected the files of one DICOM series alone")
                if len(names) == MAX_SLICES:
                    raise InputError(f"more than {MAX_SLICES:,} files, expected the slices of one DICOM series")
                names.append(entry.name)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None
    return sorted(names, key=os.fsencode)


def read(path: Path) -> Image:
    """Read an image file, or the frame of it that the path ends in, or a folder with one DICOM series.

    Raises:
        InputError: the path and what is wrong with it.
    """
    try:
        if path.is_dir():
            return decode_series([str(path / name) for name in members(path)])[0]
        return decode(read_bytes(split_frame(str(path))[0]), path.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
