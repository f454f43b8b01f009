"""Shards: the samples of one run, each shard an .npz of images and a CSV of their rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medsynth import files, tables
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

    Raises:
        InputError: a shard lacks its table, is damaged, or the two do not agree; a sample comes twice.
    """
    paths = sorted(folder.glob("shard_*.npz"))
    if not paths:
        raise InputError(f"{folder}: no shard_*.npz, expected the output of sample")
    images, parts = [], []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                images.append(arrays["images"])
                expected = str(arrays["rows_sha256"])
            table = path.with_suffix(".csv")
            if (got := files.sha256(table)) != expected:
                raise ValueError(f"sha256 of its table is {got[:12]}, it was written with {expected[:12]}")
            parts.append(tables.read(table))
        except (*files.UNREADABLE, TypeError) as error:  # a bare array is no archive
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: shard cannot be read ({reason}); remove it and sample it again") from None
        if len(images[-1]) != len(parts[-1]):
            raise InputError(f"{path}: {len(images[-1])} images, its table has {len(parts[-1])} rows")
    rows = pd.concat(parts, ignore_index=True).sort_values("sample_id")
    if rows["sample_id"].duplicated().any():
        raise InputError(f"{folder}: sample_id {rows['sample_id'][rows['sample_id'].duplicated()].iloc[0]} comes twice")
    return np.concatenate(images)[rows.index], rows.reset_index(drop=True)
