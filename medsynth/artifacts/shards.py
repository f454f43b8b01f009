"""Shards: the samples of one run, each shard an .npz of images and a CSV of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.disk import files, tables
from medsynth.errors import InputError


def shard_rows(count: int, shard: int, shards: int) -> slice:
    """The rows of one shard: contiguous, sizes differing by one at the most."""
    return slice(count * shard // shards, count * (shard + 1) // shards)


def remove_other_shards(folder: Path, shards: int) -> None:
    """Remove what a plan of more shards has left behind; its samples are in the shards of the new plan."""
    for path in folder.glob("shard_*"):
        number = path.stem.rpartition("_")[2]
        if number.isdigit() and int(number) >= shards:
            path.unlink(missing_ok=True)


def write_shard(path: Path, images: np.ndarray, rows: pd.DataFrame) -> None:
    """Write the images and the digest of their rows to `path` (.npz) and, last, the rows to the CSV beside it.

    Args:
        images: uint16 (n, C, *spatial) on the store's scale.
        rows: sample_id, seed, model_sha256, sampler, and the condition columns as asked.
    """
    # Both are on the disk before either has its name.
    with files.written_whole(path.with_suffix(".csv")) as rows_part, files.written_whole(path) as part:
        tables.write(rows_part, rows)
        digest = np.array(files.sha256(rows_part))
        with part.open("wb") as file:
            np.savez(file, images=images, rows_sha256=digest)


def read_shards(folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """All samples of a run in the order of their ids: uint16 (n, C, *spatial), and their rows as text.

    The shards are read one after the other, so that the images are in memory once.

    Raises:
        InputError: a shard lacks its table, is damaged, or the two do not agree; a sample comes twice.
    """
    paths = sorted(folder.glob("shard_*.npz"))
    if not paths:
        raise InputError(f"{folder}: no shard_*.npz, expected the output of sample")
    parts = [_read_rows(path) for path in paths]
    rows = pd.concat(parts, ignore_index=True).sort_values("sample_id")
    if rows["sample_id"].duplicated().any():
        raise InputError(f"{folder}: sample_id {rows['sample_id'][rows['sample_id'].duplicated()].iloc[0]} comes twice")
    places = rows.index.to_numpy().argsort()  # of each row as read, among the ids in order
    joined = np.empty(0, np.uint16)
    for path, part in zip(paths, parts, strict=True):
        images = _read_images(path)
        if len(images) != len(part):
            raise InputError(f"{path}: {len(images)} images, its table has {len(part)} rows")
        if path == paths[0]:
            joined = np.empty((len(rows), *images.shape[1:]), images.dtype)
        if (images.shape[1:], images.dtype) != (joined.shape[1:], joined.dtype):
            raise InputError(f"{path}: images are {images.dtype} {images.shape[1:]}, those of {paths[0].name} are "
                             f"{joined.dtype} {joined.shape[1:]}")  # fmt: skip
        mine, places = places[: len(part)], places[len(part) :]
        joined[mine] = images
    return joined, rows.reset_index(drop=True)


def _read_rows(path: Path) -> pd.DataFrame:
    """The table beside a shard, which must be the one that the shard was written with."""
    table = path.with_suffix(".csv")
    with _naming(path), np.load(path, allow_pickle=False) as arrays:
        expected = str(arrays["rows_sha256"])
        if (got := files.sha256(table)) != expected:
            raise ValueError(f"sha256 of its table is {got[:12]}, it was written with {expected[:12]}")
        return tables.read(table)


def _read_images(path: Path) -> np.ndarray:
    with _naming(path), np.load(path, allow_pickle=False) as arrays:
        return arrays["images"]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the shard in what goes wrong while it is read."""
    try:
        yield
    except (*files.UNREADABLE, TypeError) as error:  # a bare array is no archive
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: shard cannot be read ({reason}); remove it and sample it again") from None
