#!/usr/bin/env python3
"""One picture of every simulated modality: real images above synthetic ones, from the example configurations.

    python benchmarks/gallery.py --out results/gallery --picture docs/gallery.png

The demo and each example with a phantom run to the step `sample` in one workflow, below `--out`. The same command goes
on where it was stopped, and redoes what changed. `--size`, `--count`, `--images` and `--per-class`
make it smaller, `--changes FILE` changes what judges and models are.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from command import positive, run_or_exit

from medsynth.artifacts.shards import open_shards
from medsynth.artifacts.store import Store
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.images.drawing import (
    FAINT,
    GAP,
    GENERATED,
    INK,
    MARGIN,
    MARK,
    REAL,
    SYNTHETIC,
    TILE,
    disclaimer,
    font,
    marked_png,
    new_sheet,
    row_of,
)

ROOT = Path(__file__).parents[1]
IMAGE_AXES = 2
EXAMPLES = ("config/config.yaml", "config/examples/*.yaml")
SMALLER = {
    "size": "pixels a side",
    "count": "simulated patients",
    "images": "images in training",
}
COLUMNS = 8
# What a model learns from is simulated here too: images of a phantom.
BESIDE_SIMULATED = (*GENERATED, ("real (simulated patients)", REAL))
HEADING = 26  # pixels above the two rows of a modality


@dataclass(frozen=True)
class Part:
    """One modality of the picture.

    Attributes:
        title: what it says above its rows.
        real, synthetic: uint16 (n, C, H, W) on the store's scale.
    """

    title: str
    real: np.ndarray
    synthetic: np.ndarray


def draw(path: Path, parts: Sequence[Part], title: str, about: str) -> None:
    """For each modality a row of real images above one of synthetic ones, each of these marked.

    Args:
        about: what the file says of itself.
    """
    columns = max(len(images) for part in parts for images in (part.real, part.synthetic))
    height = len(parts) * (HEADING + 2 * (TILE + GAP) + MARGIN)
    page, pen = new_sheet(columns * (TILE + GAP), height, title, BESIDE_SIMULATED)
    y = 3 * MARGIN
    for part in parts:
        pen.text((MARGIN, y), part.title, INK, font(17))
        y += HEADING
        for images, colour, mark in ((part.real, REAL, ""), (part.synthetic, SYNTHETIC, MARK)):
            row_of(page, y, images, colour, mark)
            y += TILE + GAP
        y += MARGIN
    pen.text((MARGIN, page.height - MARGIN - 8), about, FAINT, font(13))
    with files.written_whole(path) as part_file:
        marked_png(page, part_file, about)


def alike(real: np.ndarray, synthetic: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of images of the same classes, one of each class in turn and the first of each: nothing is picked.

    Args:
        real, synthetic: (n,) classes.
    """
    classes = sorted(set(real) & set(synthetic))
    pairs = [zip(np.flatnonzero(real == name), np.flatnonzero(synthetic == name), strict=False) for name in classes]
    found = [pair for turn in zip_longest(*pairs) for pair in turn if pair is not None][:columns]
    if not found:
        raise InputError("no class has both a real and a synthetic image")
    first, second = np.array(found).T
    return first, second


def examples() -> list[dict[str, Any]]:
    """The demo and the examples whose images, no volumes, are simulated, as they are written."""
    paths = [path for pattern in EXAMPLES for path in sorted(ROOT.glob(pattern))]
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    datasets = [list(values["datasets"].values()) for values in read]
    return [
        values
        for values, of_values in zip(read, datasets, strict=True)
        if all("phantom" in each["source"] and len(each["size"]) == IMAGE_AXES for each in of_values)
    ]


def merged(configurations: Sequence[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """All datasets in one configuration, with what is smaller; what is no dataset and no model is the first one's.

    Raises:
        InputError: two configurations have another dataset or model of one name.
    """
    whole: dict[str, Any] = {
        key: value for key, value in configurations[0].items() if key not in ("datasets", "models")
    }
    whole |= {"datasets": {}, "models": {}}
    for values in configurations:
        for key in ("datasets", "models"):
            for name, section in values[key].items():
                if key == "datasets":
                    section = _smaller(section, args) | {"models": list(values["models"])}
                if whole[key].setdefault(name, section) != section:
                    raise InputError(f"two examples have another {key.removesuffix('s')} {name}")
    changes = read_changes(args.changes)
    whole["judges"] = whole.get("judges", {}) | changes["judges"]
    for name, model in whole["models"].items():
        training = {"images": args.images} if args.images else {}
        changed = model | changes["model"]
        whole["models"][name] = changed | {"training": changed["training"] | training}
    return whole


def read_changes(path: Path | None) -> dict[str, dict[str, Any]]:
    """`judges` and `model`: the keys of these sections to change in every example.

    Raises:
        InputError: it is no YAML of these two.
    """
    found: Any = {}
    if path is not None:
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    nothing: dict[str, dict[str, Any]] = {"judges": {}, "model": {}}
    if not isinstance(found, dict) or not set(found) <= set(nothing) or not all(map(is_section, found.values())):
        raise InputError(f"{path}: expected sections judges and model, with the keys to change")
    return nothing | found


def is_section(value: Any) -> bool:
    return isinstance(value, dict)


def _smaller(dataset: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    request = dataset["plan"]["request"]
    counts = {name: args.per_class for name in request["counts"]}
    return dataset | {
        "source": dataset["source"] | ({"count": args.count} if args.count else {}),
        "size": [args.size, args.size] if args.size else dataset["size"],
        "plan": {"request": request | {"counts": counts}},
    }


def run(configuration: Path, folder: Path, cores: int) -> None:
    """Bring the workflow to the step `sample`; what is finished already is not repeated.

    Raises:
        InputError: it failed; the terminal says where.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--directory", folder]
    command += ["--configfile", configuration, "--cores", cores, "--until", "sample"]
    command += ["--rerun-incomplete", "--nolock"]  # a killed run leaves a lock; the folder is of this script alone
    done = subprocess.run([str(part) for part in command], env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise InputError(f"the workflow in {folder} ended with {done.returncode}; the same command goes on from there")


def parts(values: dict[str, Any], folder: Path) -> list[Part]:
    """The rows of every run of a configuration."""
    found = []
    for dataset, section in values["datasets"].items():
        real = Store.open(folder / f"results/prepare/{dataset}").split("test")
        label = section["label"]
        for model in section["models"]:
            shards = open_shards(folder / f"results/sample/{dataset}/{model}")
            of_real, of_synthetic = alike(
                real.samples[label].to_numpy(dtype=str), shards.rows[label].to_numpy(dtype=str), COLUMNS
            )
            shown = list(dict.fromkeys(real.samples[label].to_numpy(dtype=str)[of_real]))
            title = f"{section['modality']}: {', '.join(shown)}".replace("_", " ")
            found.append(Part(title, real.images[of_real], shards.images[of_synthetic]))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the workflow's results, kept for the next run"
    )
    parser.add_argument("--picture", type=Path, required=True, help="PNG to write")
    parser.add_argument("--cores", default="1")
    parser.add_argument("--per-class", default="8", help="samples of each class (8)")
    for name, what in SMALLER.items():
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"{what}, in place of the examples'")
    parser.add_argument("--changes", type=Path, help="YAML of keys to change, below judges and model")
    args = parser.parse_args(arguments)
    for name in ("cores", "per_class", *SMALLER):
        text = getattr(args, name)
        setattr(args, name, text and positive(text, name.replace("_", "-"), int))
    args.out = args.out.resolve()
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    values = merged(examples(), args)
    configuration = args.out / "gallery.yaml"
    args.out.mkdir(parents=True, exist_ok=True)
    files.write_text(configuration, yaml.safe_dump(values, sort_keys=False))
    run(configuration, args.out, args.cores)
    draw(args.picture, parts(values, args.out), "Six modalities", disclaimer(simulated=True))
    print(args.picture)


if __name__ == "__main__":
    run_or_exit(main)
