"""The prepared store: a folder of memory-mapped arrays and tables, written by the step `prepare`.

images.npy      uint16 (N, C, *spatial), `to_intensity` gives [-1, 1]
masks.npy       uint8 (N, *spatial) label maps, if the source has them
samples.csv     one row for each stored image, in the same order: train, then val, then test; `affine` is its 4x4 from
                stored voxel to mm (RAS+) as JSON, empty where the source states none
split.csv       subject_id, split
quarantine.csv  the rows that could not be used, and why
duplicates.csv  pairs of images of different subjects that show the same, and what was done with them
store.json      StoreInfo
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import SPLITS, ConditionField, Strict, parse_json
from medsynth.config.columns import MASK_OF
from medsynth.disk import files, tables
from medsynth.errors import InputError
from medsynth.images.image import spacing_of
from medsynth.images.modalities import MODALITIES

if TYPE_CHECKING:
    import pandas as pd

VERSION = 2
DIGESTED = ("images.npy", "masks.npy", "samples.csv")
TABLES = ("samples.csv", "split.csv", "quarantine.csv", "duplicates.csv")
HALF_RANGE = 32767.5
COPIED_TOGETHER = 256  # rows


def to_stored(intensity: np.ndarray) -> np.ndarray:
    """[-1, 1] → uint16."""
    scaled = intensity * np.float32(HALF_RANGE)
    scaled += np.float32(HALF_RANGE + 0.5)  # rounds to the nearest when cut
    return scaled.astype(np.uint16)


def to_intensity(stored: np.ndarray) -> np.ndarray:
    """uint16 → float32 in [-1, 1]."""
    return np.asarray(stored, np.float32) / np.float32(HALF_RANGE) - np.float32(1)


class StoreInfo(Strict):
    """The record store.json.

    Attributes:
        simulated: the images are of a phantom, not of patients.
        strata: the fields that the split is stratified by and metrics are grouped by; None: the label alone.
        structures: name → number of each label in the masks; empty without masks.
        windowed: intensities are not in the modality's unit: the source's images were windowed before.
        bits_stored: that 16-bit images of the source use, where their files do not say so; None: no such images.
        decoloured: images whose tint or colour was left out.
        duplicates: pairs of images of different subjects that show the same.
        duplicate_limit: likeness above which two do; None where images were not compared.
        subjects_joined: subjects of the table that became part of another one.
        digest: SHA-256 over the digests of images.npy, masks.npy and samples.csv, the modality and the conditions.
    """

    version: int
    dataset: str
    modality: str
    simulated: bool
    size: tuple[int, ...]
    channels: int
    conditions: dict[str, ConditionField]
    label: str
    strata: tuple[str, ...] | None = None
    structures: dict[str, int]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    windowed: bool = False
    bits_stored: int | None = None
    decoloured: int = 0
    duplicates: int = 0
    duplicate_limit: float | None = None
    subjects_joined: int = 0
    digest: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.channels, *self.size)

    @property
    def unit(self) -> str:
        """Of an intensity, as text."""
        unit = MODALITIES[self.modality].unit
        return f"grey levels as windowed by the source, not in {unit}" if self.windowed else unit

    @property
    def condition_schema(self) -> ConditionSchema:
        """The conditions, in their order."""
        return ConditionSchema(self.conditions, len(self.size), self.structures)


def digest(folder: Path, info: StoreInfo) -> str:
    """SHA-256 of everything that a model sees of a store: files, modality and conditions."""
    lines = [f"{files.sha256(folder / name)}  {name}\n" for name in DIGESTED if (folder / name).exists()]
    meaning = info.model_dump(mode="json", include={"modality", "size", "channels", "conditions", "structures"})
    lines.append(json.dumps(meaning, sort_keys=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Store:
    """A prepared store, or the view of one split of it: nothing of the other splits can be reached from a view.

    Attributes:
        images: (n, C, *spatial) uint16, read from disk where it is indexed.
        masks: (n, *spatial) uint8, or None.
        samples: samples.csv as text, index 0 to n - 1.
    """

    info: StoreInfo
    images: np.ndarray
    masks: np.ndarray | None
    samples: pd.DataFrame

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> Store:
        """Open a store and check that its files agree.

        Args:
            verify: also read every byte and compare the digest.
        Raises:
            InputError: a file is missing, damaged, or does not agree with store.json.
        """
        info = _read_info(folder)
        found = {name: tables.read(folder / name) for name in TABLES}
        samples = found["samples.csv"]
        for column in ("image", "subject_id", "split", "affine", *info.condition_schema.columns):
            if column not in samples:
                raise InputError(f"{folder / 'samples.csv'}: no column {column!r}")
        counts = {
            "samples.csv": info.rows_out,
            "quarantine.csv": info.rows_quarantined,
            "duplicates.csv": info.duplicates,
        }
        for name, expected in counts.items():
            if len(found[name]) != expected:
                raise InputError(f"{folder / name}: {len(found[name])} rows, store.json says {expected}")
        if info.rows_in != (accounted := info.rows_out + info.rows_quarantined):
            raise InputError(f"{folder / 'store.json'}: {info.rows_in} rows in, {accounted} accounted for")
        split_of = dict(zip(found["split.csv"]["subject_id"], found["split.csv"]["split"], strict=True))
        if (samples["subject_id"].map(split_of) != samples["split"]).any():
            raise InputError(f"{folder / 'samples.csv'}: splits do not agree with split.csv")
        if samples["split"].map(SPLITS.index).diff().lt(0).any():
            raise InputError(f"{folder / 'samples.csv'}: rows are not in the order {', '.join(SPLITS)}")

        shape = (info.rows_out, *info.image_shape)
        images = _open_array(folder / "images.npy", shape, np.uint16)
        masks = _open_array(folder / "masks.npy", (shape[0], *info.size), np.uint8) if info.structures else None
        if verify and digest(folder, info) != info.digest:
            raise InputError(
                f"{folder}: the content does not have the digest of store.json, expected {info.digest}; "
                "remove the folder and prepare it again"
            )
        return cls(info, images, masks, samples)

    def split(self, name: str) -> Store:
        """The view of one split.

        Raises:
            ValueError: no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}, expected one of {', '.join(SPLITS)}")
        chosen = np.flatnonzero(self.samples["split"] == name)
        view = slice(chosen[0], chosen[-1] + 1) if len(chosen) else slice(0)
        return Store(
            self.info,
            self.images[view],
            None if self.masks is None else self.masks[view],
            self.samples[view].reset_index(drop=True),
        )

    def take(self, rows: np.ndarray) -> Store:
        """The view of images at some positions within this view, in their order; they are read into memory."""
        masks = None if self.masks is None else self.masks[rows]
        return Store(self.info, self.images[rows], masks, self.samples.iloc[rows].reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.samples)

    def intensities(self, rows: np.ndarray | slice | Sequence[int] | None = None) -> np.ndarray:
        """(n, C, *spatial) float32 in [-1, 1] at positions within the view, all of them if None."""
        return to_intensity(self.images[slice(None) if rows is None else rows])

    def masks_asked(self, rows: pd.DataFrame) -> np.ndarray | None:
        """(n, *spatial) the masks that rows of a plan ask for by position; zeros where a row asks for none."""
        if self.masks is None or MASK_OF not in rows:
            return None
        masks = np.zeros((len(rows), *self.info.size), np.uint8)
        given = (rows[MASK_OF] != "").to_numpy()
        masks[given] = self.masks[rows[MASK_OF][given].astype(int).to_numpy()]
        return masks

    def read(self, rows: np.ndarray | slice | Sequence[int], window: tuple[slice, ...] | None = None) -> np.ndarray:
        """uint16 (n, C, *window) of some images; nothing else is read from disk.

        Args:
            rows: positions within the view.
            window: a slice of each spatial axis; whole images if None.
        """
        chosen = np.arange(len(self))[rows]
        part = (slice(None), *(window or [slice(None)] * len(self.info.size)))
        empty = self.images[:0][(slice(None), *part)]
        out = np.empty((len(chosen), *empty.shape[1:]), np.uint16)
        for place, row in enumerate(chosen):
            out[place] = self.images[row][part]
        return out

    def affine(self, row: int) -> np.ndarray | None:
        """4x4 from the index of a stored voxel to mm (RAS+), one column an axis as stored; None where none is known."""
        text = str(self.samples["affine"].iat[row])
        return np.array(json.loads(text)) if text else None

    def spacing_mm(self, row: int) -> tuple[float, ...] | None:
        """The size of a stored voxel along each spatial axis; None where it is not known."""
        affine = self.affine(row)
        return None if affine is None else spacing_of(affine, len(self.info.size))

    def label_values(self) -> list[str]:
        """The label of each image."""
        return self.samples[self.info.label].tolist()


def typical_spacing_mm(images: Store) -> list[float] | None:
    """The median spacing of images along each spatial axis; None where none of them states one."""
    stated = [spacing for row in range(len(images)) if (spacing := images.spacing_mm(row)) is not None]
    return np.median(stated, axis=0).tolist() if stated else None


def _read_info(folder: Path) -> StoreInfo:
    path = folder / "store.json"
    try:
        info = parse_json(StoreInfo, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected a prepared store") from None
    if info.version != VERSION:
        raise InputError(f"{path}: version {info.version}, expected {VERSION}: prepare the dataset again")
    return info


def _open_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)  # writable in memory alone, as torch wants it
    except files.UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); remove the folder and prepare it again") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: is an archive, expected one array")
    if array.shape != shape or array.dtype != dtype:
        expected = f"{np.dtype(dtype)} of {shape}"
        raise InputError(f"{path}: {array.dtype} of {array.shape}, store.json says {expected}")
    return array


# --- writing ----------------------------------------------------------------------------------------------------


def open_rows(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A headerless file of rows of one shape, as a memory map."""
    return np.memmap(path, dtype, "r").reshape(-1, *shape)


def write_in_order(path: Path, rows: Path, shape: tuple[int, ...], dtype: type, order: np.ndarray) -> None:
    """Write a .npy file from a headerless file of rows, and remove that file.

    Args:
        shape: of one row.
        order: (n,) positions of the rows; those left out are not written.
    """
    source = open_rows(rows, shape, dtype)
    described = {
        "descr": np.lib.format.dtype_to_descr(source.dtype),
        "fortran_order": False,
        "shape": (len(order), *shape),
    }
    with path.open("wb") as file:  # not a memory map: on a full disk that kills the process
        np.lib.format.write_array_header_1_0(file, described)
        for start in range(0, len(order), COPIED_TOGETHER):
            file.write(source[order[start : start + COPIED_TOGETHER]].data)
    rows.unlink()
