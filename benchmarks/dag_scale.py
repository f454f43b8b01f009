#!/usr/bin/env python3
"""Time and memory of planning: a dry run of many datasets, models and shards.

python benchmarks/dag_scale.py --out DIR
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pictures
import yaml
from command import positives, run_or_exit, write_table

from medsynth.errors import InputError

COLUMNS = ("datasets", "models", "shards", "jobs", "seconds", "peak_memory_mib")
SNAKEFILE = Path(__file__).parents[1] / "workflow" / "Snakefile"


def write_config(path: Path, datasets: int, models: int, shards: int) -> None:
    """A configuration of simulated datasets, all alike."""
    dataset = {
        "source": {"kind": "phantom", "phantom": "chest_xray", "count": 1000},
        "modality": "chest_xray",
        "size": [64, 64],
        "conditions": {"pathology": {"kind": "categorical", "values": ["normal", "pneumonia", "nodule", "effusion"]}},
        "label": "pathology",
        "plan": {
            "request": {"kind": "per_class", "column": "pathology", "counts": {"normal": 10 * shards}},
            "shards": shards,
        },
    }
    values = {
        "datasets": {f"dataset_{number}": dataset for number in range(datasets)},
        "models": {f"model_{number}": {"family": "diffusion"} for number in range(models)},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def dry_run(config: Path, folder: Path, *more: str) -> tuple[float, float, str]:
    """Seconds, MiB of the largest moment, and what was printed.

    Raises:
        InputError: the dry run failed.
    """
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", SNAKEFILE, "--configfile", config]
    command += ["--directory", folder, *more]
    printed = folder / "printed.txt"
    with printed.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)  # this child's memory alone
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    text = printed.read_text(errors="replace")
    if process.returncode:
        raise InputError(f"the dry run failed: {' '.join(text.split())[-300:]}")
    return seconds, usage.ru_maxrss / 1024, text


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--datasets", type=int, default=12)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--shards", default="1,10,100", help="shards of each dataset and model, by commas")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    shards = positives(args.shards, "shards", int)
    if min(args.datasets, args.models, args.repeats) < 1:
        raise InputError("--datasets, --models and --repeats: expected whole numbers above 0")
    rows: list[dict[str, Any]] = []
    for count in shards:
        with tempfile.TemporaryDirectory(prefix="dag_scale_") as name:
            folder = Path(name)
            write_config(folder / "config.yaml", args.datasets, args.models, count)
            # Quiet: the plan alone. With `--quiet all` a dry run still prints every job, and takes half as long again.
            runs = [dry_run(folder / "config.yaml", folder, "--quiet") for _ in range(args.repeats)]
            _, _, text = dry_run(folder / "config.yaml", folder, "--quiet", "rules")
        jobs = int(re.findall(r"^total +(\d+)$", text, re.MULTILINE)[0])
        seconds, memory = (statistics.median(run[place] for run in runs) for place in (0, 1))
        rows.append(dict(zip(COLUMNS, (args.datasets, args.models, count, jobs, seconds, memory), strict=True)))
        print(f"{jobs} jobs: {seconds:.2f} s, {memory:.0f} MiB", file=sys.stderr)
        table = write_table(args.out / "dag_scale.csv", COLUMNS, rows)
    table["grid"] = f"{args.datasets} datasets x {args.models} models"
    pictures.lines(args.out / "dag_scale.png", table, "jobs", ("seconds", "peak_memory_mib"), "grid", ("jobs",))


if __name__ == "__main__":
    run_or_exit(main)
