#!/usr/bin/env python3
"""What does a term beside the model's own loss give, and what does it cost?

    python benchmarks/losses.py --table samples.csv --losses edge:0.1,perceptual:0.1 --images 6000 --out DIR
    python benchmarks/losses.py --store STORE --losses anatomical:0.1 --images 6000 --out DIR

The same model is trained without any such term, and with each of them alone, on as many images from the same initial
weights. Every one draws what the held-out images show; these are the other side of every figure, seen through
EfficientNet-Lite1. A reader of the training images says whether the drawn ones show what they were asked for.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import torch
from collection import add_table, prepare_store, read_overrides
from command import add_run, positive, run_or_exit, write_table
from time_to_quality import NEIGHBOURS, finest_octave

from medsynth import config, registry
from medsynth.artifacts.store import Store
from medsynth.config import Split, TrainSettings
from medsynth.config.columns import MASK_OF
from medsynth.config.families.diffusion import Diffusion
from medsynth.config.judges import EXTRACTORS, other_extractor
from medsynth.errors import InputError
from medsynth.evaluate.diversity import coverage
from medsynth.evaluate.fidelity import kid
from medsynth.judges.features import extract, to_uint8
from medsynth.judges.reader import read
from medsynth.judges.reader_network import Reader, trunks
from medsynth.judges.reader_training import input_size, train_reader
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model
from medsynth.models.generation import generate
from medsynth.sample.plan import sample_seed
from medsynth.train.loop import train

COLUMNS = (
    *("loss", "weight", "below", "seed", "cpu_seconds", "val_loss", "kid", "floor", "coverage", "coverage_real"),
    *("finest_octave", "as_asked", "as_asked_real", "mask_dice", "mask_dice_real", "n_synthetic"),
)
SHARES = Split(train=0.7, val=0.25, test=0.05)
MOST_SAMPLES = 500


@dataclass(frozen=True)
class Arm:
    """A term and its weight; no name for none."""

    name: str = ""
    weight: float = 0.0

    def losses(self, below: float) -> dict[str, Any]:
        return {self.name: {"weight": self.weight, "below": below}} if self.name else {}

    def __str__(self) -> str:
        return f"{self.name} {self.weight:g}" if self.name else "none"


class Judge:
    """Figures against held-out images, which are asked for again, and those of as many training images."""

    def __init__(self, store: Store, reader_epochs: int, seed: int) -> None:
        """
        Raises:
            InputError: too few held-out images.
        """
        held, train_split = store.split("val"), store.split("train")
        if len(held) <= NEIGHBOURS or len(train_split) <= NEIGHBOURS:
            raise InputError(
                f"{len(held)} held-out and {len(train_split)} training images, expected at least {NEIGHBOURS + 1} each"
            )
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(len(held))[:MOST_SAMPLES])
        dims = len(store.info.size)
        self.extractor = other_extractor(EXTRACTORS[dims], dims)
        self.schema, self.label = store.info.condition_schema, store.info.label
        self.real = held.read(rows)
        self.masks = None if held.masks is None or not self.schema.needs_mask else np.array(held.masks[rows])
        self.asked = held.samples.iloc[rows].reset_index(drop=True)
        if self.masks is not None:
            self.asked[MASK_OF] = [str(row) for row in rows]
        self.asked["sample_id"] = [f"loss-{row}" for row in rows]
        self.asked["seed"] = [str(sample_seed(seed, str(row))) for row in rows]
        self.features = extract(self.real, name=self.extractor)
        training = train_split.read(np.sort(rng.permutation(len(train_split))[: len(rows)]))
        known = extract(training, name=self.extractor)
        self.floor, self.coverage = kid(self.features, known), coverage(self.features, known, NEIGHBOURS)
        self.reader = _reader(store, reader_epochs, seed)
        self.real_as_asked = self._as_asked(self.real)

    def judge(self, images: np.ndarray) -> dict[str, Any]:
        """Every figure of the images uint16 (n, C, *spatial) that were `asked`, beside that of real ones."""
        found = extract(images, name=self.extractor)
        as_asked = self._as_asked(images)
        return {
            "kid": kid(self.features, found),
            "floor": self.floor,
            "coverage": coverage(self.features, found, NEIGHBOURS),
            "coverage_real": self.coverage,
            "finest_octave": finest_octave(to_uint8(images)) / finest_octave(to_uint8(self.real)),
            **as_asked,
            **{f"{name}_real": value for name, value in self.real_as_asked.items()},
            "n_synthetic": len(images),
        }

    def _as_asked(self, images: np.ndarray) -> dict[str, float]:
        """The first statistic of the label, and of the mask where images are asked for by theirs."""
        reading = read([self.reader], images)
        found = {}
        for kind in self.schema.kinds.values():
            column = "as_asked" if self.label in kind.columns else "mask_dice" if kind.needs_mask else None
            if column:
                arrays = kind.asked_and_read(self.asked, self.masks, reading, images.shape[2:])
                found[column] = kind.statistics[0].of(*arrays)
        return found


def _reader(store: Store, epochs: int, seed: int) -> Reader:
    schema = store.info.condition_schema
    parts = [
        (part.images, schema.encode(part.samples, part.masks)) for part in (store.split("train"), store.split("val"))
    ]
    trunk = trunks(store.info.channels, input_size(store.info.size))[-1]
    return train_reader(parts[0], parts[1], schema, epochs, seed, trunk)[0]


def trained(store: Store, model: Diffusion, seed: int, out: Path) -> float:
    """Train a model on the store, from the base where it fits; returns processor seconds."""
    base = model.base(store.info.image_shape)
    started = time.process_time()
    train(TrainSettings(seed=seed, model=model, base=base.sha256 if base else None), store, out)
    return time.process_time() - started


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_table(parser, required=False)
    parser.add_argument("--store", type=Path, help="a store as `prepare` leaves it, in place of --table")
    parser.add_argument("--losses", required=True, help="name:weight, by commas; none is always the first")
    parser.add_argument("--below", default="1", help="noise level below which each acts")
    parser.add_argument("--images", default="6000", help="budget of each training, in images seen")
    parser.add_argument("--repeats", default="1", help="trainings of each, from different seeds")
    parser.add_argument("--reader-epochs", default="10")
    add_run(parser)
    args = parser.parse_args(argv)
    if (args.table is None) == (args.store is None):
        raise InputError("expected one of --table and --store")
    for name in ("images", "repeats", "reader_epochs"):
        setattr(args, name, int(positive(getattr(args, name), name.replace("_", "-"), int)))
    args.below = positive(args.below, "below")
    args.arms = [Arm(), *map(parse_arm, args.losses.split(","))]
    return args


def parse_arm(text: str) -> Arm:
    """`name:weight` → both.

    Raises:
        InputError: no such loss, or no weight.
    """
    name, _, weight = text.partition(":")
    if name not in registry.LOSSES:
        raise InputError(f"--losses: unknown {name!r}, expected some of {', '.join(registry.LOSSES)}")
    return Arm(name, positive(weight, f"losses {name}"))


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    overrides = read_overrides(args.medsynth_config)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    store = Store.open(args.store) if args.store else prepare_store(args, args.out / "store", SHARES)
    if len(store.info.size) != 2:
        raise InputError(f"--store: images of {len(store.info.size)} axes, expected 2")
    judge = Judge(store, args.reader_epochs, args.seed)
    sheet = {"real, held out": to_uint8(judge.real)}
    rows: list[dict[str, Any]] = []
    for seed in range(args.seed, args.seed + args.repeats):
        for arm in args.arms:
            training = {"images": args.images, "precision": args.precision} | overrides.get("training", {})
            values = {"family": "diffusion"} | overrides | {"training": training, "losses": arm.losses(args.below)}
            model = config.parse(Diffusion, values, "medsynth")
            folder = args.out / f"{arm}_{seed}".replace(" ", "_")
            seconds = trained(store, model, seed, folder)
            network, info = load_model(folder / "model.safetensors", choose_device())
            images = generate(network, judge.schema, judge.asked, model.sampler, judge.masks)
            row = {"loss": arm.name or "none", "weight": arm.weight, "seed": seed, "cpu_seconds": seconds}
            row |= {"below": args.below if arm.name else None, "val_loss": info.val_loss}
            rows.append(row | judge.judge(images))
            sheet[f"{arm}, seed {seed}"] = to_uint8(images)
            write_table(args.out / "losses.csv", COLUMNS, rows)  # what is there survives what comes after
            pictures.contact_sheet(args.out / "contact_sheet.png", sheet)


if __name__ == "__main__":
    run_or_exit(main)
