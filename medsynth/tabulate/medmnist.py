"""MedMNIST archives (Yang et al. 2023): arrays <split>_images and <split>_labels in an .npz, read image by image."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medsynth.errors import InputError
from medsynth.images.formats import nifti, raster
from medsynth.images.formats.format import Encode
from medsynth.images.image import Image, refuse_oversized

SPLITS = ("train", "val", "test")
MOST_LABELS = 10**8  # values in an array of labels, more than any such collection has
SEPARATOR, NONE = "|", "no finding"  # as of conditions of kind multi_label


def rows_of_archive(source: Path, folder: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """Write every image as PNG, or NIfTI of volumes, into a folder; a row for each: image, subject_id, split, label.

    Archives name no patients: each image is a subject of its own. Where images have several labels, `label` lists those
    that apply with a bar between.

    Args:
        names: of the classes, in the order of their numbers; none: the numbers themselves.
    Raises:
        InputError: no such archive, images without labels, pickled arrays, or fewer names than classes.
    """
    rows = []
    try:
        with zipfile.ZipFile(source) as archive:
            for split in SPLITS:
                shape, images = _items(archive, source, f"{split}_images", np.dtype(np.uint8))
                of_labels, labels = _items(archive, source, f"{split}_labels", None)
                if len(of_labels) != 2 or of_labels[0] != shape[0]:
                    raise InputError(f"{source}: {split}_labels is {of_labels}, expected ({shape[0]}, labels)")
                encode, suffix = _format(source, split, shape)
                (folder / split).mkdir()
                for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                    name = f"{split}/{split}_{number:06d}{suffix}"
                    channels = np.moveaxis(pixels, -1, 0) if suffix == ".png" and pixels.ndim == 3 else pixels[None]
                    (folder / name).write_bytes(encode(Image(channels, display=(0.0, 255.0), bits=8), 1.0, 0.0, {}))
                    cell = _label(source, label.astype(int).tolist(), names)
                    rows.append({"image": name, "subject_id": Path(name).name.partition(".")[0], "split": split,
                                 "label": cell})  # fmt: skip
    except zipfile.BadZipFile:
        raise InputError(f"{source}: not an .npz archive") from None
    return rows


def _items(
    archive: zipfile.ZipFile, source: Path, name: str, dtype: np.dtype | None
) -> tuple[tuple[int, ...], Iterator[np.ndarray]]:
    """The shape of an array, and its items along the first axis, read one by one."""
    try:
        file = archive.open(f"{name}.npy")
    except KeyError:
        raise InputError(f"{source}: no array {name}, expected images and labels of {', '.join(SPLITS)}") from None
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, found = read(file)
    except (ValueError, KeyError):
        raise InputError(f"{source}: {name} is no array that can be read") from None
    if found.hasobject or found.kind not in "iub" or fortran or (dtype is not None and found != dtype):
        raise InputError(f"{source}: {name} is of {found}, expected {dtype or 'whole numbers'} in rows")
    if dtype is not None:
        refuse_oversized(shape[1:] or (0,))
    elif math.prod(shape) > MOST_LABELS:
        raise InputError(f"{source}: {name} has {math.prod(shape):,} values, expected at most {MOST_LABELS:,}")
    return shape, _read(file, source, name, shape, found)


def _read(file, source: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    size = math.prod(shape[1:]) * dtype.itemsize
    with file:
        for number in range(shape[0]):
            data = file.read(size)
            if len(data) < size:
                raise InputError(f"{source}: {name} ends at item {number} of {shape[0]}")
            yield np.frombuffer(data, dtype).reshape(shape[1:])


def _format(source: Path, split: str, shape: tuple[int, ...]) -> tuple[Encode, str]:
    """How images of a shape (N, H, W), (N, H, W, 3) or (N, D, H, W) are written."""
    if len(shape) == 3 or (len(shape) == 4 and shape[-1] == 3):
        assert raster.PNG.encode is not None
        return raster.PNG.encode, ".png"
    if len(shape) == 4:
        assert nifti.NIFTI.encode is not None
        return nifti.NIFTI.encode, ".nii.gz"
    raise InputError(f"{source}: {split}_images is {shape}, expected grey, RGB or volumes")


def _label(source: Path, values: list[int], names: Sequence[str]) -> str:
    numbers = values if len(values) == 1 else [number for number, value in enumerate(values) if value]
    if names and (most := max(numbers, default=0)) >= len(names):
        raise InputError(f"{source}: class {most}, --labels names {len(names)}")
    return SEPARATOR.join(names[number] if names else str(number) for number in numbers) or NONE
