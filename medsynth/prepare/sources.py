"""Where images come from, the rows of a table or a phantom: each gives `Prepared` images one by one, in any process."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from medsynth import registry
from medsynth.artifacts import store
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import PhantomSource, PrepareSettings, TableSource
from medsynth.config.columns import NOT_APPLICABLE_TEXT
from medsynth.errors import InputError
from medsynth.images.content import content_box, is_brighter_on_the_right
from medsynth.images.formats import files as formats
from medsynth.images.geometry import Geometry, centred_affine, find_geometry
from medsynth.images.image import Image
from medsynth.images.intensity import (
    CONTAINER_BITS,
    Intensity,
    find_intensity,
    rule_of,
    take_channels,
    within_bits,
)
from medsynth.images.modalities import MODALITIES
from medsynth.images.optic_disc import disc_box
from medsynth.prepare.masks import resample_mask
from medsynth.prepare.table import Rejection, Sample, read_samples, refuse_too_many, split_samples, strata

BOXES = {"content": content_box, "optic_disc": disc_box}  # what of an image counts, by the key `fit`


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image as it will be stored.

    Attributes:
        sample: its row, with lesions moved to where they are in the stored image.
        pixels: (C, *size) uint16.
        mask: (*size) uint8 or None.
        sha256: of the source file, of the files of a series one after the other, or of a phantom's pixels.
        affine: 4x4 of the stored image, None where the source states none.
        decoloured: a tint or colour was left out.
        largest: value of an image of 16 bits that does not say how many it uses, None of any other.
    """

    sample: Sample
    pixels: np.ndarray
    mask: np.ndarray | None
    sha256: str
    intensity: Intensity
    geometry: Geometry
    affine: np.ndarray | None
    decoloured: bool = False
    largest: int | None = None

    def to_cells(self, split: str) -> dict[str, str]:
        """A row of samples.csv."""
        return {
            "source_row": str(self.sample.source_row),
            "image": self.sample.image,
            "subject_id": self.sample.subject_id,
            "split": split,
            **self.sample.cells,
            "sha256": self.sha256,
            "low": repr(self.intensity.low),
            "high": repr(self.intensity.high),
            "affine": "" if self.affine is None else json.dumps(self.affine.tolist()),
            **self.geometry.to_cells(),
        }


@dataclass(frozen=True)
class Intake:
    """What is to be prepared, and how one sample of it is.

    Attributes:
        preload: modules that `prepare_one` will import.
        structures: label numbers of the masks by name; None where the masks themselves say which labels there are.
    """

    rows: int
    samples: Sequence[Sample]
    prepare_one: Callable[[Sample], Prepared | Rejection]
    preload: Sequence[str]
    has_masks: bool
    structures: dict[str, int] | None
    max_bad_fraction: float


# --- images from a table ----------------------------------------------------------------------------------------


def open_table(settings: PrepareSettings, source: TableSource, rejected: list[Rejection]) -> Intake:
    """Read a table of images and check it.

    Args:
        rejected: filled with the rows that cannot be used, also when this fails.
    Raises:
        InputError: the table cannot be read, too many of its rows are bad, or they cannot be split.
    """
    path = Path(settings.data_root) / source.table
    schema = ConditionSchema(settings.conditions, len(settings.size))
    table = read_samples(path, schema, source)
    rejected.extend(table.rejected)
    if schema.needs_mask and not table.has_masks:
        raise InputError(f"{path}: no column 'mask', a condition of kind mask needs one")
    # Both are asked again when all images are read; a table that fails already need not wait for that.
    refuse_too_many(rejected, table.rows, source.max_bad_fraction)
    split_samples(table.samples, strata(settings), settings.split, settings.seed)
    return Intake(
        rows=table.rows,
        samples=table.samples,
        prepare_one=partial(
            _prepare_file, settings, source, schema, _Folder(os.path.realpath(path.parent), source.allow_outside_root)
        ),
        preload=sorted({entry.module for entry in registry.FORMATS.values()}),
        has_masks=table.has_masks,
        structures=None if table.has_masks else {},
        max_bad_fraction=source.max_bad_fraction,
    )


@dataclass(frozen=True)
class _Folder:
    """The table's folder, without links in its path."""

    root: str
    allow_outside_root: bool

    def load(self, name: str, frame: int | None = None) -> tuple[Image, str]:
        """The image of a file below it, or of a folder with one DICOM series, and the SHA-256 of what it was read from.

        Args:
            frame: of a file with several volumes.
        Raises:
            InputError: what is wrong; a link that leads out of the table's folder counts as outside.
        """
        path = self._resolve(name)
        if os.path.isdir(path):  # noqa: PTH112 - see _resolve
            # A file of the series may be a link of its own.
            inner = [self._resolve(os.path.join(path, member)) for member in formats.members(path)]  # noqa: PTH118
            return formats.decode_series(inner)
        data = formats.read_bytes(path)
        return formats.decode(data, name, frame), hashlib.sha256(data).hexdigest()

    def _resolve(self, name: str) -> str:
        # os.path takes a fifth of pathlib's time, which shows beside the decoding of a small JPEG.
        if "\0" in name:
            raise InputError("not a path")
        folder, file_name = os.path.split(os.path.join(self.root, formats.split_frame(name)[0]))  # noqa: PTH118
        path = os.path.join(_resolve_folder(folder), file_name)  # noqa: PTH118
        if file_name in ("", ".", "..") or os.path.islink(path):  # noqa: PTH114
            path = os.path.realpath(path)
        if not self.allow_outside_root and not path.startswith(os.path.join(self.root, "")):  # noqa: PTH118
            raise InputError("lies outside the table's folder, see allow_outside_root")
        return path


@lru_cache
def _resolve_folder(path: str) -> str:
    return os.path.realpath(path)


def _prepare_file(
    settings: PrepareSettings, source: TableSource, schema: ConditionSchema, folder: _Folder, sample: Sample
) -> Prepared | Rejection:
    """Read, decode and resample one image of a table; whatever is wrong with it becomes its rejection."""
    modality, windowed = MODALITIES[settings.modality], source.intensity == "windowed"
    cells = dict(sample.cells)
    column = "image"
    try:
        image, sha256 = folder.load(sample.image, source.frame)
        if image.dicom_code and image.dicom_code not in modality.dicom_codes:
            expected = " or ".join(modality.dicom_codes)
            raise InputError(f"DICOM modality is not {expected}, as {settings.modality} has it")
        if len(image.spatial_shape) != modality.spatial_dims:
            raise InputError(f"{len(image.spatial_shape)} spatial axes, the modality has {modality.spatial_dims}")
        if image.burned_in and source.burned_in_annotation == "refuse":
            raise InputError(
                "DICOM BurnedInAnnotation is YES: its pixels may name a person; "
                "source.burned_in_annotation: accept takes it"
            )
        if source.bits_stored:
            image = within_bits(image, source.bits_stored)
        voxels, decoloured = take_channels(image, modality.channels, source.colour == "luma")
        intensity = find_intensity(image, modality, windowed, settings.window_limits)
        if image.padding is not None:
            voxels = np.where(image.padding, np.float32(intensity.low), voxels)
        geometry = _geometry(settings, voxels, intensity, image)
        pixels = np.ascontiguousarray(store.to_stored(intensity.forward(geometry.resample(voxels, intensity.low))))
        column = "mask"
        mask = _prepare_mask(folder, sample.mask, image, geometry) if sample.mask else None
        for column, move in _moves(schema, geometry):
            cells[column] = _move(cells[column], move)
    except InputError as error:
        value = {"image": sample.image, "mask": sample.mask, **sample.cells}[column]
        return Rejection(sample.source_row, sample.image, column, value, str(error))
    return Prepared(
        sample=replace(sample, cells=cells),
        pixels=pixels,
        mask=mask,
        sha256=sha256,
        intensity=intensity,
        geometry=geometry,
        affine=None if image.affine is None else geometry.affine(image.affine),
        decoloured=decoloured,
        largest=int(image.voxels.max()) if _has_unknown_bits(image, rule_of(modality, windowed)) else None,
    )


def _geometry(settings: PrepareSettings, voxels: np.ndarray, intensity: Intensity, image: Image) -> Geometry:
    """The box of the image that is stored, its sides exchanged where the breast shall lie on the left."""
    fit, box = settings.fit, None
    if fit in BOXES:
        fit, box = "pad", BOXES[fit](intensity.forward(voxels))
    geometry = find_geometry(image.spatial_shape, settings.size, fit, image.spacing_mm, box)
    if settings.laterality == "left" and is_brighter_on_the_right(voxels):
        return geometry.mirrored()
    return geometry


def _has_unknown_bits(image: Image, rule: str) -> bool:
    return rule == "display" and image.bits == CONTAINER_BITS


def _prepare_mask(folder: _Folder, name: str, image: Image, geometry: Geometry) -> np.ndarray:
    if name == NOT_APPLICABLE_TEXT:
        return np.zeros(geometry.size, np.uint8)
    mask, _ = folder.load(name)
    return resample_mask(mask, image, geometry)


def _moves(schema: ConditionSchema, geometry: Geometry) -> Iterator[tuple[str, Callable[[float], float]]]:
    """Each column that says where something is, and how its fraction of the source becomes one of the stored image."""
    for kind in schema.kinds.values():
        yield from kind.stored(geometry)


def _move(text: str, move: Callable[[float], float]) -> str:
    if text in ("", NOT_APPLICABLE_TEXT):
        return text
    moved = move(float(text))
    if not 0 <= moved <= 1:
        raise InputError(f"{moved:.3g} of the part of the image that is kept, expected 0 to 1")
    return f"{moved:.6g}"


# --- phantoms ---------------------------------------------------------------------------------------------------


def open_phantom(settings: PrepareSettings, source: PhantomSource) -> Intake:
    """Plan so many simulated patients.

    Raises:
        InputError: no such phantom, or it is of another modality.
    """
    name, count = source.phantom, source.count
    if name not in registry.PHANTOMS:
        raise InputError(f"unknown phantom {name!r}, expected one of {', '.join(registry.PHANTOMS)}")
    phantom = registry.PHANTOMS[name].load()
    if phantom.modality != settings.modality:
        raise InputError(f"phantom {name} is a {phantom.modality}, the dataset's modality is {settings.modality}")
    ids = (f"phantom_{index:06d}" for index in range(count))
    return Intake(
        rows=count,
        samples=[Sample(row, identity, identity, {}) for row, identity in enumerate(ids, start=1)],
        prepare_one=partial(_render_phantom, settings, ConditionSchema(settings.conditions, len(settings.size)), name),
        preload=[registry.PHANTOMS[name].module],
        has_masks=True,
        structures=phantom.structures,
        max_bad_fraction=0.0,
    )


def _render_phantom(settings: PrepareSettings, schema: ConditionSchema, name: str, sample: Sample) -> Prepared:
    entropy = np.random.SeedSequence((settings.seed, sample.source_row - 1))
    phantom = registry.PHANTOMS[name].load()
    image = phantom.render(int(entropy.generate_state(1, np.uint64)[0]), settings.size)
    cells = {}
    for column in schema.columns:
        if column not in image.conditions:
            known = ", ".join(image.conditions)
            raise InputError(f"phantom {name} has no condition {column!r}, expected some of {known}")
        value = image.conditions[column]
        cells[column] = value if isinstance(value, str) else f"{value:.6g}"
        if reason := schema.check(column, cells[column]):
            raise InputError(f"{sample.image}: {column} {cells[column]} is {reason}")
    intensity = Intensity(*phantom.window)
    pixels = store.to_stored(intensity.forward(image.voxels))
    return Prepared(
        sample=replace(sample, cells=cells),
        pixels=pixels,
        mask=image.labels,
        sha256=hashlib.sha256(pixels.data).hexdigest(),
        intensity=intensity,
        geometry=find_geometry(settings.size, settings.size, "pad"),
        affine=None if image.spacing_mm is None else centred_affine(image.spacing_mm, settings.size),
    )
