"""The collection that a benchmark trains on: any table of 2D images with a label, and what is changed of the model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from command import positive

from medsynth.artifacts.store import Store
from medsynth.config import PrepareSettings, Split, TableSource
from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES
from medsynth.prepare.prepare import prepare

NOT_LABELS = {"image", "subject_id", "mask", "split"}
MOST_VALUES = 20


def add_table(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The arguments that `prepare_store` and `read_overrides` read."""
    parser.add_argument("--table", type=Path, required=required, help="CSV with image, subject_id and a label column")
    parser.add_argument("--label", help="the label column; the first that looks categorical if left out")
    parser.add_argument("--modality", default="chest_xray")
    parser.add_argument("--size", default="64", help="pixels a side")
    parser.add_argument("--medsynth-config", type=Path, help="YAML or JSON of a diffusion model's keys to change")


def read_labels(table: Path, label: str | None) -> tuple[str, tuple[str, ...]]:
    """The label column and its values: the one asked for, else the first that looks categorical.

    Raises:
        InputError: the table cannot be read, or has no such column.
    """
    try:
        with table.open(encoding="utf-8-sig") as file:
            delimiter = max(",;\t", key=file.readline().count)
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, sep=delimiter, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{table}: cannot be read ({' '.join(str(error).split())})") from None
    counts = {column: rows.loc[rows[column] != "", column].nunique() for column in rows if column not in NOT_LABELS}
    likely = [column for column, count in counts.items() if 2 <= count <= min(MOST_VALUES, len(rows) // 3)]
    chosen = label or next(iter(likely), None)
    if chosen is None:
        raise InputError(f"{table}: no column with 2 to {MOST_VALUES} repeated values, name one with --label")
    if chosen not in counts:
        raise InputError(f"{table}: no column {chosen!r} for --label, expected one of {', '.join(counts) or 'none'}")
    return chosen, tuple(sorted(set(rows[chosen]) - {""}))


def prepare_store(args: argparse.Namespace, folder: Path, split: Split) -> Store:
    """The store of the table that `add_table` asks for, split by subject.

    Raises:
        InputError: the table, its label, the modality or the size cannot be used.
    """
    size = int(positive(args.size, "size", int))
    if args.modality not in MODALITIES or MODALITIES[args.modality].spatial_dims != 2:
        known = ", ".join(name for name, modality in MODALITIES.items() if modality.spatial_dims == 2)
        raise InputError(f"--modality: got {args.modality!r}, expected one of {known}")
    label, values = read_labels(args.table, args.label)
    settings = PrepareSettings(
        seed=args.seed,
        dataset="benchmark",
        data_root=str(args.table.parent),
        source=TableSource(kind="table", table=args.table.name),
        modality=args.modality,
        size=(size, size),
        fit="pad",
        conditions={label: {"kind": "categorical", "values": values}},
        label=label,
        split=split,
    )
    prepare(settings, folder, args.threads)
    return Store.open(folder)


def read_overrides(path: Path | None) -> dict[str, Any]:
    """Keys of `Diffusion` from a YAML or JSON file."""
    if path is None:
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: got {type(values).__name__}, expected a mapping of a diffusion model's keys")
    if (family := values.get("family", "diffusion")) != "diffusion":
        raise InputError(f"{path}: got the family {family!r}, expected keys of a diffusion model")
    return values
