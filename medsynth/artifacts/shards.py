"""Shards: the samples of one run in parts, each a small store that is read from disk where it is indexed.

shard_0.npy        uint16 (n, C, *spatial) on the store's scale
shard_0_masks.npy  uint8 (n, *spatial) label maps, if the model draws them
shard_0.csv        one row a sample, in the same order
shard_0.json       SHA-256 of each of the others
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsynth.disk import files, tables
from medsynth.errors import InputError


class Joined:
    """Concatenation of arrays (n, ...) along their first axis, in a given order, without copying them."""

    def __init__(self, parts: Sequence[np.ndarray], order: np.ndarray) -> None:
        """Join arrays that are alike in dtype and shape.

        Args:
            parts: arrays, or memory maps, of which only indexed rows are read.
            order: (n,) permutation of the rows, numbered through all parts.
        """
        self._parts = parts
        self._order = order
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape: tuple[int, ...] = (len(order), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """One row (...), or a copy (n, ...) of those that a slice, an array of positions or a mask chooses."""
        places = self._order[rows]
        if np.ndim(places) == 0:
            return self._row(int(places))
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        for position, place in enumerate(places):
            out[position] = self._row(int(place))
        return out

    def _row(self, place: int) -> np.ndarray:
        part = int(np.searchsorted(self._ends, place, side="right"))
        return self._parts[part][place - self._ends[part]]  # counted from the part's end


Images = np.ndarray | Joined


@dataclass(frozen=True, eq=False)
class Shards:
    """All samples of a run in the order of their ids.

    Attributes:
        images: uint16 (n, C, *spatial), read from disk where it is indexed.
        masks: uint8 (n, *spatial), or None.
        rows: n rows of text.
    """

    images: Joined
    masks: Joined | None
    rows: pd.DataFrame


def shard_rows(count: int, shard: int, shards: int) -> slice:
    """The rows of one shard: contiguous, sizes differing by one at the most."""
    return slice(count * shard // shards, count * (shard + 1) // shards)


def remove_other_shards(folder: Path, shards: int) -> None:
    """Remove the shards of an earlier plan that had more of them."""
    for path in folder.glob("shard_*"):
        number = path.stem.split("_")[1]
        if number.isdigit() and int(number) >= shards:
            path.unlink(missing_ok=True)


def write_shard(path: Path, images: np.ndarray, rows: pd.DataFrame, masks: np.ndarray | None = None) -> None:
    """Write one shard: images to `path` (.npy), rows and masks beside it, the record last.

    Args:
        images: uint16 (n, C, *spatial) on the store's scale.
        rows: sample_id, seed, model_sha256, sampler, and the condition columns as asked.
        masks: uint8 (n, *spatial), or None.
    """
    _masks_of(path).unlink(missing_ok=True)
    with ExitStack() as stack:  # all are on the disk before the first has its name
        record = stack.enter_context(files.written_whole(path.with_suffix(".json")))
        table = stack.enter_context(files.written_whole(path.with_suffix(".csv")))
        tables.write(table, rows)
        digests = {"rows_sha256": files.sha256(table)}
        for name, place, array in (("images", path, images), ("masks", _masks_of(path), masks)):
            if array is not None:
                part = stack.enter_context(files.written_whole(place))
                np.save(part, array, allow_pickle=False)
                digests[f"{name}_sha256"] = files.sha256(part)
        record.write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def open_shards(folder: Path) -> Shards:
    """Open all shards of a run and check that they are whole; their images stay on the disk.

    Raises:
        InputError: a shard lacks a part, is damaged, or is unlike the others; a sample comes twice.
    """
    paths = sorted({path.with_suffix(".npy") for suffix in ("csv", "json") for path in folder.glob(f"shard_*.{suffix}")}
                   | {path for path in folder.glob("shard_*.npy") if not path.stem.endswith("_masks")})  # fmt: skip
    if not paths:
        raise InputError(f"{folder}: no shard_*.npy, expected the output of sample")
    opened = [_open(path) for path in paths]
    rows = pd.concat([part[0] for part in opened], ignore_index=True).sort_values("sample_id")
    if rows["sample_id"].duplicated().any():
        raise InputError(f"{folder}: sample_id {rows['sample_id'][rows['sample_id'].duplicated()].iloc[0]} comes twice")
    order = rows.index.to_numpy()
    images = _join(paths, [part[1] for part in opened], order)
    masks = [part[2] for part in opened if part[2] is not None]
    if masks and len(masks) != len(paths):
        raise InputError(f"{folder}: {len(masks)} of {len(paths)} shards have masks, expected all or none")
    joined_masks = _join([_masks_of(path) for path in paths], masks, order) if masks else None
    return Shards(images, joined_masks, rows.reset_index(drop=True))


def shard_tables(folder: Path) -> pd.DataFrame:
    """The rows of all shards of a run in the order of their ids, without their images.

    Raises:
        InputError: there is no shard.
    """
    paths = sorted(folder.glob("shard_*.csv"))
    if not paths:
        raise InputError(f"{folder}: no shard_*.csv, expected the output of sample")
    rows = pd.concat([tables.read(path, ("sample_id",)) for path in paths], ignore_index=True)
    return rows.sort_values("sample_id").reset_index(drop=True)


def _open(path: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray | None]:
    """Read rows, images and masks of one shard and compare them with its record."""
    with _naming(path):
        record = json.loads(path.with_suffix(".json").read_bytes())
        found = {"rows": path.with_suffix(".csv"), "images": path}
        found |= {"masks": _masks_of(path)} if "masks_sha256" in record else {}
        if {f"{name}_sha256" for name in found} != set(record):
            raise ValueError(f"its record has {', '.join(record)}")
        for name, file in found.items():
            if (got := files.sha256(file)) != record[f"{name}_sha256"]:
                raise ValueError(f"sha256 of its {name} is {got[:12]}, it was written with "
                                 f"{str(record[f'{name}_sha256'])[:12]}")  # fmt: skip
        rows = tables.read(found["rows"], ("sample_id",))
        images, masks = (
            np.lib.format.open_memmap(found[name], mode="c") if name in found else None for name in ("images", "masks")
        )
        assert images is not None
        for array in (images, *([] if masks is None else [masks])):
            if len(array) != len(rows):
                raise ValueError(f"{len(array)} images, its table has {len(rows)} rows")
    return rows, images, masks


def _join(paths: Sequence[Path], parts: Sequence[np.ndarray], order: np.ndarray) -> Joined:
    shape, dtype = parts[0].shape[1:], parts[0].dtype
    for path, part in zip(paths, parts, strict=True):
        if (part.shape[1:], part.dtype) != (shape, dtype):
            raise InputError(f"{path}: images are {part.dtype} {part.shape[1:]}, those of {paths[0].name} are "
                             f"{dtype} {shape}")  # fmt: skip
    return Joined(parts, order)


def _masks_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_masks.npy")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn any error while a shard is read into an InputError that names it."""
    try:
        yield
    except (*files.UNREADABLE, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: shard cannot be read ({reason}); remove it and sample it again") from None


def with_verdicts(rows: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The n rows of all shards, each with its verdict.

    Args:
        verdicts: samples.csv of evaluate.
    Raises:
        InputError: the verdicts are not of these samples.
    """
    table = rows.merge(verdicts, on="sample_id", how="inner", validate="one_to_one")
    if not len(table) == len(rows) == len(verdicts):
        raise InputError(f"{len(rows)} samples, {len(verdicts)} verdicts, {len(table)} in both")
    return table
