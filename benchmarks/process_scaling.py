#!/usr/bin/env python3
"""Images per second of one training on one process and on several, each with its own core or GPU.

python benchmarks/process_scaling.py --out DIR
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pictures
from command import positives, run_or_exit, write_table

from medsynth.config import PhantomSource, PrepareSettings, Split, TrainSettings
from medsynth.config.families.diffusion import Diffusion
from medsynth.errors import InputError
from medsynth.prepare.prepare import prepare

COLUMNS = ("processes", "images", "images_per_s", "ratio_to_one")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def write_store(folder: Path, size: int) -> None:
    prepare(
        PrepareSettings(
            seed=0,
            dataset="benchmark",
            data_root=".",
            source=PhantomSource(kind="phantom", phantom="chest_xray", count=200),
            modality="chest_xray",
            size=(size, size),
            fit="pad",
            conditions={"pathology": {"kind": "categorical", "values": ("normal", "pneumonia", "nodule", "effusion")}},
            label="pathology",
            split=Split(),
        ),
        folder,
        threads=1,
    )


def images_per_s(store: Path, out: Path, settings: TrainSettings, processes: int) -> float:
    """The speed that a whole training reports of itself.

    Raises:
        InputError: it failed.
    """
    command = [sys.executable, *((*TORCHRUN, str(processes)) if processes > 1 else ()), "-m", "medsynth", "train"]
    chosen = out.with_suffix(".json")
    chosen.write_text(settings.model_dump_json())
    command += ["--settings", str(chosen), "--store", str(store), "--out", str(out)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"the training on {processes} processes failed: {' '.join(done.stderr.split())[-300:]}")
    return float(pd.read_csv(out / "history.csv")["images_per_s"].iloc[-1])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", default=str(len(os.sched_getaffinity(0))), help="beside 1, by commas")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--images", type=int, default=960, help="images that each training sees")
    parser.add_argument("--repeats", type=int, default=3, help="trainings, of which the median counts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    counts = sorted({1, *positives(args.processes, "processes", int)})
    if min(args.size, args.images, args.repeats) < 1:
        raise InputError("--size, --images and --repeats: expected whole numbers above 0")
    # The same micro-batch for all: how large it is sets how fast one process is.
    batch = Diffusion(family="diffusion").training.effective_batch_size
    training = {"images": args.images, "validate_every": args.images, "batch_size": max(1, batch // counts[-1])}
    settings = TrainSettings(seed=0, model=Diffusion(family="diffusion", training=training))
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory(prefix="process_scaling_") as name:
        write_store(Path(name) / "store", args.size)
        for repeat in range(args.repeats):  # in turn, so that a slow minute of the machine hits all of them
            for count in counts:
                out = Path(name) / f"{count}_{repeat}"
                speeds[count].append(images_per_s(Path(name) / "store", out, settings, count))
    rows: list[dict[str, Any]] = []
    for count, measured in speeds.items():
        speed = statistics.median(measured)
        ratio = speed / statistics.median(speeds[1])
        rows.append(dict(zip(COLUMNS, (count, args.images, speed, ratio), strict=True)))
        print(f"{count} processes: {speed:.3g} images/s, {ratio:.2f} of one", file=sys.stderr)
    table = write_table(args.out / "process_scaling.csv", COLUMNS, rows).assign(contender="medsynth")
    pictures.lines(args.out / "process_scaling.png", table, "processes", ("images_per_s", "ratio_to_one"), "contender")


if __name__ == "__main__":
    run_or_exit(main)
