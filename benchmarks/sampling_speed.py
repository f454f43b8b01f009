#!/usr/bin/env python3
"""Images per second of sampling and their KID, over the number of network evaluations that an image takes.

python benchmarks/sampling_speed.py --checkpoints model.safetensors --store results/prepare/NAME --out DIR
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import pictures
import torch
from ceiling import synchronise
from command import positive, positives, run_or_exit, write_table
from contract import slices

from medsynth.artifacts.store import Store, to_stored
from medsynth.conditions.schema import Condition
from medsynth.config import Sampler
from medsynth.config.families.consistency import ConsistencySampler
from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.errors import InputError
from medsynth.evaluate.fidelity import kid
from medsynth.judges.features import extract
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model
from medsynth.models.contract import Batch
from medsynth.models.diffusion.solvers import SOLVERS
from medsynth.models.families.consistency import ConsistencyModel
from medsynth.models.families.diffusion import DiffusionModel
from medsynth.sample.plan import sample_seed

COLUMNS = (
    "family",
    "solver",
    "precision",
    "steps",
    "autoguidance",
    "redraw",
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

    def __init__(self, model: DiffusionModel | ConsistencyModel) -> None:
        drawing = model.student if isinstance(model, ConsistencyModel) else model
        self.calls = [0] * len(drawing.stages)
        for owner in (drawing, drawing.guide):
            for index, stage in enumerate(owner.stages if owner else ()):
                stage.register_forward_hook(lambda *_, index=index: self._count(index))

    def _count(self, index: int) -> None:
        self.calls[index] += 1

    def taken(self) -> list[int]:
        """Evaluations of each stage since the last call."""
        calls, self.calls = self.calls, [0] * len(self.calls)
        return calls


def read_steps(text: str) -> list[tuple[int, ...]]:
    """`8:5:2,6:4` → steps of the stages, from coarse to fine, for each sampler."""
    return [tuple(int(positive(number, "steps", int)) for number in part.split(":")) for part in text.split(",")]


def read_redraw(text: str) -> list[tuple[tuple[float, ...], ...]]:
    """`2+0.8:1:,:` → noise levels at which each stage draws again, none where there is nothing, for each sampler."""
    return [
        tuple(tuple(positive(level, "redraw") for level in stage.split("+") if stage) for stage in part.split(":"))
        for part in text.split(",")
    ]


def written(redraw: tuple[tuple[float, ...], ...]) -> str:
    """As `read_redraw` reads it."""
    return ":".join("+".join(f"{level:g}" for level in stage) for stage in redraw)


@dataclass(frozen=True)
class Judged:
    """A trained model, what it is asked for, and real features to compare its images with.

    Attributes:
        condition: one for each image, as in the training data.
        real: features of the held-out images.
        floor: KID of as many real training images.
    """

    model: DiffusionModel | ConsistencyModel
    condition: Condition
    seeds: list[int]
    real: np.ndarray
    floor: float
    title: str

    @classmethod
    def load(cls, checkpoint: Path, args: argparse.Namespace, device: torch.device) -> Self:
        store = Store.open(args.store)
        model, info = load_model(checkpoint, device)
        if info.store.digest != store.info.digest:
            raise InputError(f"{checkpoint}: trained on another store than {args.store}")
        assert isinstance(model, DiffusionModel | ConsistencyModel)
        test, train = store.split("test"), store.split("train")
        count = args.samples or min(len(test), MOST_SAMPLES)
        if min(count, len(test)) < 2:
            raise InputError(f"{count} samples and {len(test)} held-out images, KID needs at least 2 of each")
        rng = np.random.default_rng(args.seed)
        real = extract(test.images)
        floor = kid(real, extract(train.images[rng.choice(len(train), min(count, len(train)), replace=False)]))
        condition = model.spec.conditions.encode(train.samples.iloc[rng.choice(len(train), count)])
        seeds = [sample_seed(args.seed, str(number)) for number in range(count)]
        title = f"{info.store.dataset}, {'x'.join(map(str, info.store.size))}, floor {floor:.3f}"
        return cls(model, condition, seeds, real, floor, title)

    def samplers(self, args: argparse.Namespace) -> Iterator[tuple[Sampler, dict[str, Any]]]:
        """Every sampler that the model's family has, and the cells of its row."""
        for precision in args.precisions:
            shared = {"precision": precision, "batch_size": args.batch_size}
            if isinstance(self.model, ConsistencyModel):
                for redraw in args.redraw:
                    cells = {"family": "consistency", "precision": precision, "redraw": written(redraw)}
                    yield ConsistencySampler(redraw=redraw, **shared), cells
                continue
            for solver, strength, steps in product(args.solvers, args.autoguidance, args.steps):
                cells = {"family": "diffusion", "precision": precision, "solver": solver, "autoguidance": strength}
                cells["steps"] = ":".join(map(str, steps))
                yield DiffusionSampler(solver=solver, steps=steps, autoguidance=strength, **shared), cells

    def measure(self, settings: Sampler, evaluations: Evaluations) -> dict[str, Any]:
        """Speed and KID of one sampler; the speed is the median over batches."""
        device = next(self.model.parameters()).device
        images, speeds, calls = [], [], [0]
        for part in slices(len(self.seeds), settings.batch_size):
            started = time.perf_counter()
            images.append(self.model.sample(Batch(self.condition[part]), self.seeds[part], settings).float().cpu())
            synchronise(device)
            speeds.append((part.stop - part.start) / (time.perf_counter() - started))
            calls = evaluations.taken()
        return {
            "steps": ":".join(map(str, calls)),
            "evaluations": sum(calls),
            "finest_evaluations": calls[-1],
            "images_per_s": statistics.median(speeds),
            "kid": kid(self.real, extract(to_stored(torch.cat(images).numpy()))),
            "floor": self.floor,
            "n_synthetic": len(self.seeds),
        }


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--checkpoints", type=Path, nargs="+", required=True, help="model.safetensors of each, its model.json beside it"
    )
    parser.add_argument("--store", type=Path, required=True, help="the prepared store that they were trained on")
    parser.add_argument("--solvers", default="dpm_solver", help=f"some of {', '.join(SOLVERS)}, by commas")
    parser.add_argument("--precisions", default="float32,bfloat16", help="number formats of the networks, by commas")
    parser.add_argument(
        "--steps",
        default="2,4:3:2,6:4:2,8:5:1,8:5:2,8:5:3,12:8:2,12:8:5",
        help="steps of the stages from coarse to fine, as 8:5:2, by commas; the last serves all later stages",
    )
    parser.add_argument(
        "--redraw",
        default=":,0.8:0.5:,2+0.8:1:",
        help="of a consistency model: the stages' noise levels to draw again from, as 2+0.8:1: for 2 and 0.8, 1, none",
    )
    parser.add_argument("--autoguidance", default="1,2", help="strengths, by commas; 1 is none")
    parser.add_argument("--samples", help=f"images; as many as are held out, at most {MOST_SAMPLES}")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.solvers, args.precisions = args.solvers.split(","), args.precisions.split(",")
    args.steps, args.autoguidance = read_steps(args.steps), positives(args.autoguidance, "autoguidance")
    args.redraw = read_redraw(args.redraw)
    args.samples = args.samples and int(positive(args.samples, "samples", int))
    for option, known in (("solvers", tuple(SOLVERS)), ("precisions", ("float32", "bfloat16"))):
        if unknown := set(getattr(args, option)).difference(known):
            raise InputError(f"--{option}: unknown {min(unknown)!r}, expected some of {', '.join(known)}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    rows: list[dict[str, Any]] = []
    for checkpoint in args.checkpoints:
        judged = Judged.load(checkpoint, args, choose_device())
        evaluations = Evaluations(judged.model)
        for settings, cells in judged.samplers(args):
            rows.append(judged.measure(settings, evaluations) | cells)
            shown = ", ".join(f"{name} {cell}" for name, cell in cells.items())
            print("{}: {images_per_s:.3g} images/s, KID {kid:.3f}".format(shown, **rows[-1]), file=sys.stderr)
            table = write_table(args.out / "sampling_speed.csv", COLUMNS, rows)
    drawn = table.fillna({"solver": "", "autoguidance": 1}).astype({"autoguidance": str})
    pictures.lines(
        args.out / "sampling_speed.png",
        table.assign(sampler=drawn[["family", "solver", "precision", "autoguidance"]].agg(" ".join, axis=1)),
        "evaluations",
        ("kid", "images_per_s"),
        "sampler",
        ("evaluations", "kid", "images_per_s"),
        judged.title,
    )


if __name__ == "__main__":
    run_or_exit(main)
