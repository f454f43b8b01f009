"""A look at the images of a table: which column names them, what they are like, and whether there are masks."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from medsynth.errors import InputError
from medsynth.images.formats import files as formats
from medsynth.images.image import Image
from medsynth.images.intensity import take_channels
from medsynth.init.columns import words
from medsynth.init.document import printable

LOOKED_AT = {2: 24, 3: 6}  # images, by their axes
LEAST_THERE = 0.5  # share of a column's cells that are files
IMAGE_WORDS = (
    "image",
    "img",
    "path",
    "file",
    "filename",
    "filepath",
    "dicom",
    "dcm",
    "scan",
    "picture",
    "photo",
    "name",
)
MASK_WORDS = {"mask", "masks", "seg", "segmentation", "annotation", "roi", "labelmap", "contour", "lesionmask"}
MOST_STRUCTURES = 16
SHOWN_COLUMNS = 8
Item = TypeVar("Item")


@dataclass(frozen=True)
class Look:
    """What one image is like.

    Attributes:
        extent: along each spatial axis, in mm where the file states a spacing, else in pixels.
        channels: that differ from one another, 1 where none do.
        colour: whether they differ by more than a tint.
        low, high: intensities.
        unitless: whether these are grey levels or colours without a unit.
    """

    shape: tuple[int, ...]
    extent: tuple[float, ...]
    channels: int
    colour: bool
    low: float
    high: float
    unitless: bool
    dicom_code: str

    @property
    def dims(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class Survey:
    """A look at a sample of a collection; images of other axes than most are not among the looks."""

    column: str
    looks: list[Look]
    others: int
    outside: bool
    paths: tuple[str, ...]  # other columns whose cells are files

    @property
    def dims(self) -> int:
        return self.looks[0].dims

    @property
    def coloured(self) -> int:
        """Images with more than a tint of colour."""
        return sum(look.colour for look in self.looks)

    @property
    def colour(self) -> bool:
        return 2 * self.coloured > len(self.looks)


def survey(table: Path, cells: Mapping[str, Sequence[str]]) -> Survey:
    """Find the column that names the images, and look at some of them.

    Args:
        cells: column → one cell for each row.
    Raises:
        InputError: no column names image files that can be read; says which columns were looked at.
    """
    folder = table.parent
    reasons: dict[str, str] = {}
    found: dict[str, list[Look]] = {}
    for column in sorted(cells, key=lambda column: _rank(column, list(cells))):
        sample = spread([cell for cell in cells[column] if cell.strip()], LOOKED_AT[2])
        there = [cell for cell in sample if is_there(folder, cell)]
        if len(there) <= LEAST_THERE * len(sample):
            lacking = next((cell for cell in sample if cell not in there), "")
            reasons[column] = f"{printable(lacking, 30)!r} is no file" if sample else "empty"
            continue
        looks = []
        for cell in there:
            try:
                looks.append(_look(formats.read(folder / cell)))
            except InputError as error:
                reasons[column] = str(error)
            if looks and len(looks) >= LOOKED_AT.get(looks[0].dims, 1):
                break
        if looks:
            found[column] = looks
    if not found:
        shown = "; ".join(f"{printable(name, 30)}: {why}" for name, why in list(reasons.items())[:SHOWN_COLUMNS])
        raise InputError(f"{table}: no column names readable image files below {folder}; looked at {shown}")
    column = next(iter(found))
    looks = found[column]
    dims = statistics.mode(look.dims for look in looks)
    same = [look for look in looks if look.dims == dims]
    root = folder.resolve()
    outside = any(
        not (folder / cell).resolve().is_relative_to(root)
        for cell in cells[column]
        if cell.strip() and "\0" not in cell
    )
    others = tuple(name for name in found if name != column)
    return Survey(column, same, len(looks) - len(same), outside, others)


def structures(folder: Path, cells: Sequence[str]) -> tuple[int, str]:
    """How many structures a sample of label maps shows, and why they cannot be used; empty where they can."""
    labels: set[float] = set()
    for cell in spread([cell for cell in cells if cell.strip() and cell != "n/a"], LOOKED_AT[3]):
        try:
            image = formats.read(folder / cell)
        except InputError as error:
            return 0, str(error)
        if (image.voxels != image.voxels[:1]).any():
            return 0, "label maps in colour"
        labels |= set(np.unique(image.voxels[0]).tolist())
    if any(label != round(label) or not 0 <= label <= 255 for label in labels):
        return 0, f"labels from {min(labels):g} to {max(labels):g}, expected whole numbers from 0 to 255"
    count = len(labels - {0.0})
    if not 1 <= count <= MOST_STRUCTURES:
        return count, f"{count} structures, expected 1 to {MOST_STRUCTURES} for images to be asked for by them"
    return count, ""


def is_mask(column: str) -> bool:
    """Whether a column of files holds label maps, by its name."""
    return bool(MASK_WORDS & set(words(column)))


def is_there(folder: Path, cell: str) -> bool:
    """Whether a cell is the path of a file, or of a folder that may hold a DICOM series, from the table's folder on."""
    try:
        place = folder / formats.split_frame(cell)[0]
        return place.is_file() or place.is_dir()
    except (OSError, ValueError):  # too long a name, a NUL
        return False


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of them, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _rank(column: str, order: Sequence[str]) -> tuple[int, int]:
    """Columns that are called like images first, those of masks last."""
    named = [place for place, word in enumerate(IMAGE_WORDS) if word in words(column)]
    return (len(IMAGE_WORDS) + 1 if is_mask(column) else min(named, default=len(IMAGE_WORDS)), order.index(column))


def _look(image: Image) -> Look:
    voxels = image.voxels
    spacing = image.spacing_mm or (1.0,) * (voxels.ndim - 1)
    return Look(
        shape=image.spatial_shape,
        extent=tuple(length * step for length, step in zip(image.spatial_shape, spacing, strict=True)),
        channels=len(voxels) if (voxels != voxels[:1]).any() else 1,
        colour=_has_strong_colour(image),
        low=float(voxels.min()),
        high=float(voxels.max()),
        unitless=image.bits is not None,
        dicom_code=image.dicom_code,
    )


def _has_strong_colour(image: Image) -> bool:
    try:
        take_channels(image, 1)
    except InputError:
        return True
    return False
