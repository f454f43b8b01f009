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
from itertools import product
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
from medsynth.models.diffusion import DiffusionModel
from medsynth.models.solvers import SOLVERS
from medsynth.sampling import sample_seed
from medsynth.store import Store, to_stored

COLUMNS = (
    "solver",
    "steps",
    "autoguidance",
    "evaluations",
    "finest_evaluations",
    "images_per_s",
    "kid",
    "floor",
    "n_synthetic",
)
MOST_SAMPLES = 500


class Evaluations:
    """Counts how often the networks of a model, and of its guide, are asked for one image."""

    def __init__(self, model: DiffusionModel) -> None:
        self.calls = [0] * len(model.stages)
        for owner in (model, model.guide):
            for index, stage in enumerate(owner.stages if owner else ()):
                stage.register_forward_hook(lambda *_, index=index: self._count(index))

    def _count(self, index: int) -> None:
        self.calls[index] += 1

    def taken(self) -> list[int]:
        """Evaluations of each stage since the last call."""
        calls, self.calls = self.calls, [0] * len(self.calls)
        return calls


def read_steps(text: str) -> list[tuple[int, ...]]:
    """`8:5:3,6:4` → steps of the stages, from coarse to fine, for each sampler."""
    steps = [tuple(int(positive(number, "steps", int)) for number in part.split(":")) for part in text.split(",")]
    if (least := min(map(min, steps))) < 2:
        raise InputError(f"--steps: got {least}, expected 2 or more")
    return steps


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="model.safetensors, its model.json beside it")
    parser.add_argument("--store", type=Path, required=True, help="the prepared store that it was trained on")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument(
        "--steps",
        default="2,4:3:2,6:4:3,8:5:3,12:8:5,16:12:8,24:16:12",
        help="steps of the stages from coarse to fine, as 8:5:3, by commas; the last serves all later stages",
    )
    parser.add_argument("--autoguidance", default="1,2", help="strengths, by commas; 1 is none")
    parser.add_argument("--samples", help=f"images; as many as are held out, at most {MOST_SAMPLES}")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    solvers, steps = args.solvers.split(","), read_steps(args.steps)
    strengths = positives(args.autoguidance, "autoguidance")
    if unknown := [solver for solver in solvers if solver not in SOLVERS]:
        raise InputError(f"--solvers: unknown {unknown[0]!r}, expected some of {', '.join(SOLVERS)}")
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

    assert isinstance(model, DiffusionModel)
    evaluations = Evaluations(model)
    rows: list[dict[str, Any]] = []
    for solver, strength, chosen in product(solvers, strengths, steps):
        settings = DiffusionSampler(solver=solver, steps=chosen, autoguidance=strength)
        images, speeds = [], []
        for part in slices(count, args.batch_size):
            started = time.perf_counter()
            images.append(model.sample(condition[part], seeds[part], settings).float().cpu())
            synchronise(device)
            speeds.append((part.stop - part.start) / (time.perf_counter() - started))
            calls = evaluations.taken()
        row = {
            "solver": solver,
            "steps": ":".join(map(str, chosen)),
            "autoguidance": strength,
            "evaluations": sum(calls),
            "finest_evaluations": calls[-1],
            "images_per_s": statistics.median(speeds),
            "kid": kid(real, extract(to_stored(torch.cat(images).numpy()))),
            "floor": floor,
            "n_synthetic": count,
        }
        rows.append(row)
        print(
            "{solver}, {steps} steps, autoguidance {autoguidance:g}: {images_per_s:.3g} images/s, KID {kid:.3f}".format(
                **row
            ),
            file=sys.stderr,
        )
        table = write_table(args.out / "sampling_speed.csv", COLUMNS, rows)
    note = f"{info.store.dataset}, {'x'.join(map(str, info.store.size))}, floor {floor:.3f}"
    logarithmic = ("evaluations", "kid", "images_per_s")
    named = table.assign(sampler=table["solver"] + ", autoguidance " + table["autoguidance"].map("{:g}".format))
    pictures.lines(
        args.out / "sampling_speed.png", named, "evaluations", ("kid", "images_per_s"), "sampler", logarithmic, note
    )


if __name__ == "__main__":
    run_or_exit(main)
