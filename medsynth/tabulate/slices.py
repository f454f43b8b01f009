"""Slices of volumes as images of their own, each with its volume's subject, conditions, and place in mm."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsynth.config.columns import NOT_APPLICABLE_TEXT
from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.images.formats import files as formats
from medsynth.images.formats import nifti
from medsynth.images.image import Image

ABSENT = ("", NOT_APPLICABLE_TEXT)  # cells that name no mask
log = logging.getLogger(__name__)

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}  # of a volume (z, y, x) in RAS+
STORED = 2.0**16 - 1  # levels that a slice is written with


@dataclass(frozen=True)
class Cut:
    """Which slices of a volume are taken.

    Attributes:
        axis: a key of AXES.
        every: one slice of so many.
        where_mask: label numbers; slices whose mask shows none of them are left out. Empty takes all.
    """

    axis: str
    every: int = 1
    where_mask: tuple[int, ...] = ()


def rows_of_volumes(table: Path, folder: Path, cut: Cut) -> list[dict[str, str]]:
    """Write slices as NIfTI of one slice into a folder; a row for each, with all other cells of its volume's row.

    Rows of the table whose volume cannot be used are left out, and named. Slices are as radiologists look at them, from
    the feet, the front or the left; slices without any contrast are left out.

    Raises:
        InputError: no such axis, no columns image and subject_id, no mask to look at, or no slice at all.
    """
    if cut.axis not in AXES:
        raise InputError(f"--axis {cut.axis!r}: expected {', '.join(AXES)}")
    header, cells = tables.read_rows(table)
    if missing := [name for name in ("image", "subject_id") if name not in header]:
        raise InputError(f"{table}: no column {missing[0]!r}")
    if cut.where_mask and "mask" not in header:
        raise InputError(f"{table}: --where-mask needs a column mask")
    rows: list[dict[str, str]] = []
    skipped = 0
    for number, of_row in enumerate(cells, start=1):
        row = dict(zip(header, of_row, strict=False))
        try:
            volume = _volume(table.parent, row["image"])
            mask = _volume(table.parent, row["mask"]) if row.get("mask", "") not in ABSENT else None
            if mask is not None and mask.spatial_shape != volume.spatial_shape:
                raise InputError(f"mask of {mask.spatial_shape} voxels, its image has {volume.spatial_shape}")
        except InputError as error:
            skipped += 1
            log.warning("%s: row %d (%s) is left out: %s", table, number, row["image"], error)
            continue
        for place in _places(volume, mask, cut):
            name = f"{number:05d}_{cut.axis}_{place:04d}.nii.gz"
            (folder / name).write_bytes(_slice(volume, cut.axis, place))
            rows.append(row | {"image": name, "slice": str(place)})
            if mask is not None:
                rows[-1]["mask"] = f"mask_{name}"
                (folder / f"mask_{name}").write_bytes(_slice(mask, cut.axis, place, labels=True))
    if not rows:
        raise InputError(f"{table}: no slice, {skipped} of {len(cells)} volumes cannot be used")
    return rows


def _volume(root: Path, name: str) -> Image:
    image = formats.read(root / name)
    if image.voxels.ndim != 4:
        raise InputError(f"{name}: {image.voxels.ndim - 1} axes, expected a volume")
    return image


def _places(volume: Image, mask: Image | None, cut: Cut) -> Iterator[int]:
    """The slices that are taken."""
    axis = AXES[cut.axis] + 1
    others = tuple(other for other in range(4) if other != axis)
    shown = np.ptp(volume.voxels, axis=others) > 0
    if cut.where_mask:
        shown &= False if mask is None else np.isin(mask.voxels, cut.where_mask).any(axis=others)
    for place in range(0, len(shown), cut.every):
        if shown[place]:
            yield place


def _slice(volume: Image, axis: str, place: int, labels: bool = False) -> bytes:
    """One slice as a file, its rows from the head down or from the front to the back, in the volume's own unit."""
    cut = AXES[axis]
    voxels = volume.voxels.take(place, axis=cut + 1)[:, ::-1, ::-1]  # rows and columns point down and to the left
    affine = None
    if volume.affine is not None:
        rest = [other for other in range(3) if other != cut]
        last = [volume.voxels.shape[other + 1] - 1 for other in rest]
        corner = np.array([0.0, 0, 0, 1])
        corner[[*rest, cut]] = [*last, place]
        columns = [
            -volume.affine[:, rest[0]],
            -volume.affine[:, rest[1]],
            volume.affine[:, cut],
            volume.affine @ corner,
        ]
        affine = np.stack(columns, 1)
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    whole = volume.voxels.dtype.kind in "ui" and high - low <= STORED
    slope = 1.0 if labels or whole else (high - low) / STORED
    intercept = 0.0 if labels else low
    levels = np.rint((voxels.astype(np.float64) - intercept) / slope).astype(np.uint8 if labels else np.uint16)
    assert nifti.NIFTI.encode is not None
    return nifti.NIFTI.encode(Image(levels, affine), slope, intercept, {})
