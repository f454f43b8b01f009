#!/usr/bin/env python3
"""How good are the images after some minutes of training, beside what a user would pick instead?

    python benchmarks/time_to_quality.py --table samples.csv --size 64 --minutes 4 \\
        --contenders medsynth,monai,denoising_diffusion_pytorch --out DIR

The clock runs while a contender trains, and stands while it is built, sampled and judged. KID is measured against
subjects that no contender has seen; its floor is the KID of as many real training images.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from typing import Any

import contenders
import numpy as np
import pictures
import torch
from ceiling import synchronise
from collection import add_table, prepare_store, read_overrides
from command import add_run, positive, positives, run_or_exit, write_table
from contract import Contender, NotInstalledError, Task

from medsynth.artifacts.store import Store
from medsynth.config import Split
from medsynth.config.evaluation import Evaluation
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.evaluate.diversity import coverage
from medsynth.evaluate.fidelity import kid
from medsynth.judges.features import features, to_uint8
from medsynth.judges.texture import band_power
from medsynth.machine.devices import choose_device

COLUMNS = (
    *("contender", "seconds", "images_seen", "images_per_s"),
    *("kid", "floor", "coverage", "coverage_real", "finest_octave", "n_synthetic"),
)
SHARES = Split(train=0.7, val=0.05, test=0.25)
MOST_SAMPLES = 500
NEIGHBOURS = Evaluation.model_fields["neighbours"].default


class Judge:
    """Figures against the held-out subjects, and those of as many real training images."""

    def __init__(self, store: Store, samples: int | None, seed: int) -> None:
        test, train = store.split("test"), store.split("train")
        self.real = to_uint8(test.images)
        self.count = samples or min(len(test), MOST_SAMPLES)
        if self.count < 2 or len(test) <= NEIGHBOURS:
            raise InputError(
                f"{self.count} samples and {len(test)} held-out images, expected at least 2 and {NEIGHBOURS + 1}"
            )
        self.features = features(self.real)
        rows = np.random.default_rng(seed).choice(len(train), min(self.count, len(train)), replace=False)
        training = features(to_uint8(train.images[rows]))
        self.floor, self.coverage = kid(self.features, training), coverage(self.features, training, NEIGHBOURS)

    def judge(self, images: np.ndarray) -> dict[str, float]:
        """The figures of images uint8 (n, H, W[, C]).

        `finest_octave` is the power in the highest octave of spatial frequency, over that of real images.
        """
        found = features(images)
        return {
            "kid": kid(self.features, found),
            "floor": self.floor,
            "coverage": coverage(self.features, found, NEIGHBOURS),
            "coverage_real": self.coverage,
            "finest_octave": finest_octave(images) / finest_octave(self.real),
        }


def finest_octave(images: np.ndarray) -> float:
    """Mean power density of images uint8 (n, H, W[, C]) in the highest octave of spatial frequency."""
    stacked = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    return float(band_power(stacked / 127.5 - 1)[..., -2:].mean())


def timed_step(contender: Contender, device: torch.device) -> float:
    started = time.monotonic()
    contender.step()
    synchronise(device)
    return time.monotonic() - started


def refuse_small_budget(names: list[str], task: Task) -> list[str]:
    """Those of the contenders that are installed, each tried for one step before any clock runs.

    Raises:
        InputError: one step takes longer than the whole budget, or none is installed.
    """
    ready = []
    for name in names:
        try:
            contender = contenders.build(name, task)
        except NotInstalledError as missing:
            print(f"{name} is left out: {missing}", file=sys.stderr)
            continue
        seconds = timed_step(contender, task.device)
        if seconds > 60 * task.minutes:
            raise InputError(f"--minutes {task.minutes:g}: one step of {name} takes {seconds / 60:.2g} minutes")
        ready.append(name)
        del contender
        gc.collect()
    if not ready:
        raise InputError("none of the contenders is installed")
    return ready


def compete(name: str, task: Task, judge: Judge, points: list[float]) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Train one contender for the budget; a row at each point, and the last images."""
    contender = contenders.build(name, task)
    seconds, rows = 0.0, []
    images = np.empty(0)
    for share in points:
        before = contender.images_seen
        while seconds < share * task.minutes * 60:
            seconds += timed_step(contender, task.device)
        if contender.images_seen == before:  # one step went past two points
            continue
        images = contender.sample(judge.count, task.seed)
        row = {
            "contender": name,
            "seconds": seconds,
            "images_seen": contender.images_seen,
            "images_per_s": contender.images_seen / seconds,
            **judge.judge(images),
            "n_synthetic": len(images),
        }
        told = "{contender}: {seconds:.0f} s, {images_per_s:.1f} images/s, KID {kid:.3f}, coverage {coverage:.2f}"
        print(told.format(**row), file=sys.stderr)
        rows.append(row)
    return rows, images


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_table(parser)
    parser.add_argument("--minutes", default="4", help="training time of each contender")
    parser.add_argument("--contenders", default=",".join(contenders.SETTINGS), help="name or name:setting, by commas")
    parser.add_argument("--points", default="0.25,0.5,1", help="shares of the time at which images are judged")
    parser.add_argument("--samples", help=f"images judged; as many as are held out, at most {MOST_SAMPLES}")
    add_run(parser)
    args = parser.parse_args(argv)
    args.minutes = positive(args.minutes, "minutes")
    args.samples = args.samples and int(positive(args.samples, "samples", int))
    args.points = sorted(positives(args.points, "points"))
    if args.points[-1] != 1:
        raise InputError(f"--points: the last is {args.points[-1]:g}, expected 1, the whole time")
    args.contenders = args.contenders.split(",")
    for name in args.contenders:
        contenders.parse_name(name)
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    overrides = read_overrides(args.medsynth_config)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    device = choose_device()
    store = prepare_store(args, args.out / "store", SHARES)
    task = Task(store, device, args.seed, args.minutes, overrides, device.type == "cuda", args.precision)
    ready = refuse_small_budget(args.contenders, task)
    judge = Judge(store, args.samples, args.seed)
    train = store.split("train").images
    sheet = {"real, held out": judge.real, "real, training": to_uint8(train[:: max(1, len(train) // 12)])}
    rows: list[dict[str, Any]] = []
    for name in ready:
        new, images = compete(name, task, judge, args.points)
        rows += new
        table = write_table(args.out / "quality.csv", COLUMNS, rows)  # what is there survives what comes after
        with files.written_whole(args.out / f"{name.replace(':', '_')}.npy") as part:
            np.save(part, images)
        sheet[name] = images
        pictures.contact_sheet(args.out / "contact_sheet.png", sheet)
        note = f"{args.table.parent.name}, {args.size} pixels, floor {judge.floor:.3f}"
        pictures.lines(args.out / "quality.png", table, "seconds", ("kid",), "contender", ("seconds", "kid"), note)
        gc.collect()


if __name__ == "__main__":
    run_or_exit(main)
