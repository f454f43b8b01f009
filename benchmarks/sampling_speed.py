#!/usr/bin/env python3
"""Images per second of sampling and their KID, over the number of network evaluations that an image takes.

python benchmarks/sampling_speed.py --checkpoint model.safetensors --store results/prepare/NAME --out DIR
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import torch
from ceiling import synchronise
from command import positive, positives, run_or_exit, write_table
from contract import slices

from medsynth.checkpoint import load_model
from medsynth.config import DiffusionSampler
from medsynth.devices import choose_device
from medsynth.errors import InputError
from medsynth.evaluation.features import extract
from medsynth.evaluation.fidelity import kid
from medsynth.models.diffusion import SOLVERS
from medsynth.sampling import sample_seed
from medsynth.store import Store, to_stored

COLUMNS = ("solver", "steps", "evaluations", "images_per_s", "kid", "floor", "n_synthetic")
MOST_SAMPLES = 500
EVALUATIONS = {"heun": lambda steps: 2 * steps - 1, "dpm_solver": lambda steps: steps}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="model.safetensors, its model.json beside it")
    parser.add_argument("--store", type=Path, required=True, help="the prepared store that it was trained on")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--steps", default="3,4,6,8,12,18,24,32", help="steps of each solver, by commas")
    parser.add_argument("--samples", help=f"images; as many as are held out, at most {MOST_SAMPLES}")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    solvers, steps = args.solvers.split(","), positives(args.steps, "steps", int)
    if unknown := [solver for solver in solvers if solver not in EVALUATIONS]:
        raise InputError(f"--solvers: unknown {unknown[0]!r}, expected some of {', '.join(EVALUATIONS)}")
    if min(steps) < 2:
        raise InputError(f"--steps: got {min(steps)}, expected 2 or more")
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    device = choose_device()
    store = Store.open(args.store)
    model, info = load_model(args.checkpoint, device)
    if info.store.digest != store.info.digest:
        raise InputError(f"{args.checkpoint}: trained on another store than {args.store}")
    test, train = store.split("test"), store.split("train")
    count = int(positive(args.samples, "samples", int)) if args.samples else min(len(test), MOST_SAMPLES)
    if min(count, len(test)) < 2:
        raise InputError(f"{count} samples and {len(test)} held-out images, KID needs at least 2 of each")
    rng = np.random.default_rng(args.seed)
    real = extract(test.images)
    floor = kid(real, extract(train.images[rng.choice(len(train), min(count, len(train)), replace=False)]))
    condition = model.spec.conditions.encode(train.samples.iloc[rng.choice(len(train), count)])
    seeds = [sample_seed(args.seed, str(number)) for number in range(count)]

    rows: list[dict[str, Any]] = []
    for solver in solvers:
        for number in steps:
            settings = DiffusionSampler(solver=solver, steps=number, batch_size=args.batch_size)
            images, speeds = [], []
            for part in slices(count, args.batch_size):
                started = time.perf_counter()
                images.append(model.sample(condition[part], seeds[part], settings).float().cpu())
                synchronise(device)
                speeds.append((part.stop - part.start) / (time.perf_counter() - started))
            row = {
                "solver": solver,
                "steps": number,
                "evaluations": EVALUATIONS[solver](number),
                "images_per_s": statistics.median(speeds),
                "kid": kid(real, extract(to_stored(torch.cat(images).numpy()))),
                "floor": floor,
                "n_synthetic": count,
            }
            rows.append(row)
            print("{solver}, {steps} steps: {images_per_s:.3g} images/s, KID {kid:.3f}".format(**row), file=sys.stderr)
            table = write_table(args.out / "sampling_speed.csv", COLUMNS, rows)
    note = f"{info.store.dataset}, {'x'.join(map(str, info.store.size))}, floor {floor:.3f}"
    logarithmic = ("evaluations", "kid", "images_per_s")
    pictures.lines(
        args.out / "sampling_speed.png", table, "evaluations", ("kid", "images_per_s"), "solver", logarithmic, note
    )


if __name__ == "__main__":
    run_or_exit(main)
