#!/usr/bin/env python3
"""What is drawn of a class of which few images are left?

    python benchmarks/rare_classes.py --table samples.csv --rare nodule --left 20,50,100 --balance 1,0.5,0 --out DIR

One class of a collection is thinned; a model is trained on what is left, once for each number of images and each value
of `training.balance`, and draws that class, and the others as often as they are held out. A reader that was trained on
all training images says whether they are what was asked for; held-out images are the other side of every figure.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pictures
import torch
from collection import add_table, prepare_store, read_overrides
from command import add_run, positive, positives, run_or_exit, write_table
from monai.metrics.regression import MultiScaleSSIMMetric

from medsynth import config
from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store, to_intensity
from medsynth.config import ReferenceSettings, Split, TrainSettings
from medsynth.config.families.diffusion import Diffusion
from medsynth.config.judges import EXTRACTORS, Judges
from medsynth.errors import InputError
from medsynth.evaluate.copy_limits import CopyLimits
from medsynth.evaluate.fidelity import kid
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.features import extract, to_uint8
from medsynth.judges.reader import read, restored
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model
from medsynth.models.generation import generate
from medsynth.reference.reference import look
from medsynth.sample.plan import sample_seed
from medsynth.train.loop import train

COLUMNS = (
    *("left", "balance", "as_asked", "as_asked_real", "kid", "kid_floor"),
    *("copies", "copies_real", "ms_ssim", "ms_ssim_real", "n_synthetic", "n_real"),
    *("others_as_asked", "others_as_asked_real", "others_kid", "others_kid_floor"),
)
PAIRS = 500
SCALES = (0.0448, 0.2856, 0.3001)  # the first of Wang et al. 2003: 32 pixels hold no more of a 7-pixel window
WINDOW = 7
QUANTILE = 0.99  # as `evaluation.max_similarity_quantile`


@dataclass(frozen=True)
class HeldOut:
    """Held-out real images, uint16 (n, C, H, W), their labels and features."""

    images: np.ndarray
    labels: list[str]
    features: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray, what: str) -> HeldOut:
        """
        Raises:
            InputError: too few for a distance.
        """
        if len(images) < 2:
            raise InputError(f"--rare: {len(images)} held-out images of {what}, expected at least 2")
        return cls(images, labels.tolist(), extract(images))


@dataclass(frozen=True)
class Yardstick:
    """What is known of real images of a class and of all others, and a reader that was trained on all."""

    label: str
    store: Store
    reference: Reference
    rare: HeldOut
    others: HeldOut

    @classmethod
    def of(cls, store: Store, label: str, seed: int, epochs: int) -> Yardstick:
        test = store.split("test")
        labels = np.array(test.label_values())
        rare, images = labels == label, test.images
        settings = ReferenceSettings(
            seed=seed, reader_epochs=epochs, readers=1, planted_copies=1, extractor=EXTRACTORS[len(store.info.size)]
        )
        held = (
            HeldOut.of(images[rare], labels[rare], label),
            HeldOut.of(images[~rare], labels[~rare], "other classes"),
        )
        return cls(label, store, look(settings, store), *held)

    def asked(self, count: int) -> list[str]:
        """The labels to draw: `count` of the class, then those of the others."""
        return [self.label] * count + self.others.labels

    def judge(self, drawn: np.ndarray, count: int, store: Store) -> dict[str, Any]:
        """Every figure of the images uint16 (n, C, H, W) that were `asked`, beside that of held-out real ones."""
        train, val = store.split("train"), store.split("val")
        own = np.array(train.label_values()) == self.label
        index = TrainingIndex(train.images)
        limits = CopyLimits.from_validation(index.nearest(val.images).by_name, len(train), QUANTILE)

        def copies(images: np.ndarray) -> float:
            return float(np.mean(limits.exceeded(index.nearest(images).by_name)))

        rare, others = drawn[:count], drawn[count:]
        return {
            "as_asked": self._as_asked(rare, [self.label] * count),
            "as_asked_real": self._as_asked(self.rare.images, self.rare.labels),
            "kid": kid(self.rare.features, extract(rare)),
            "kid_floor": kid(self.rare.features, extract(train.images[own])),
            "copies": copies(rare),
            "copies_real": copies(self.rare.images),
            "ms_ssim": likeness(rare),
            "ms_ssim_real": likeness(self.rare.images),
            "n_synthetic": count,
            "n_real": len(self.rare.images),
            "others_as_asked": self._as_asked(others, self.others.labels),
            "others_as_asked_real": self._as_asked(self.others.images, self.others.labels),
            "others_kid": kid(self.others.features, extract(others)),
            "others_kid_floor": kid(self.others.features, extract(train.images[~own])),
        }

    def _as_asked(self, images: np.ndarray, labels: list[str]) -> float:
        """Mean over the classes of how many of their images are read as asked."""
        readers = restored(
            self.reference.readers, self.reference.trunk, self.store.info.condition_schema, self.store.images.shape
        )
        asked = np.array(labels)
        right = read(readers, images).values[self.store.info.label].to_numpy() == asked
        return float(np.mean([right[asked == label].mean() for label in np.unique(asked)]))


def thinned(store: Store, label: str, left: int, seed: int) -> Store:
    """The store with so many training images of a class.

    Raises:
        InputError: there is no such class, or there are not as many.
    """
    samples, labels = store.samples, np.array(store.label_values())
    if label not in labels:
        raise InputError(f"--rare: no class {label!r}, expected one of {', '.join(np.unique(labels))}")
    rows = np.flatnonzero(((samples["split"] == "train") & (labels == label)).to_numpy())
    if left > len(rows):
        raise InputError(f"--left {left}: there are {len(rows)} training images of {label}")
    gone = np.random.default_rng(seed).permutation(rows)[left:]
    kept = np.setdiff1d(np.arange(len(samples)), gone)
    return Store(store.info, store.read(kept), None, samples.iloc[kept].reset_index(drop=True))


def likeness(images: np.ndarray) -> float:
    """Mean MS-SSIM of pairs of images uint16 (n, C, H, W), drawn at random: 1 where all are the same."""
    rng = np.random.default_rng(0)
    first = rng.integers(len(images), size=PAIRS)
    second = (first + rng.integers(1, len(images), size=PAIRS)) % len(images)
    scaled = torch.from_numpy((to_intensity(images) + 1) / 2).float()
    metric = MultiScaleSSIMMetric(spatial_dims=2, kernel_size=WINDOW, weights=SCALES)
    return float(metric(scaled[first], scaled[second]).mean())


def draw(store: Store, model: Diffusion, labels: list[str], seed: int, out: Path) -> np.ndarray:
    """Train on a store, and draw images of these labels."""
    base = model.base(store.info.image_shape)
    train(TrainSettings(seed=seed, model=model, base=base.sha256 if base else None), store, out)
    trained, info = load_model(out / "model.safetensors", choose_device())
    rows = pd.DataFrame(
        {
            "sample_id": [f"rare-{number}" for number in range(len(labels))],
            "seed": [str(sample_seed(seed, str(number))) for number in range(len(labels))],
            store.info.label: labels,
        }
    )
    return generate(trained, info.store.condition_schema, rows, model.sampler)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_table(parser)
    parser.add_argument("--rare", required=True, help="the class to thin")
    parser.add_argument("--left", default="20,50,100", help="training images of it that are left")
    parser.add_argument("--balance", default="1,0.5,0", help="values of training.balance")
    parser.add_argument("--images", default="24000", help="budget of each training, in images seen")
    parser.add_argument("--samples", default="100", help="images drawn of the class")
    parser.add_argument("--reader-epochs", default=str(Judges().reader_epochs))
    add_run(parser)
    args = parser.parse_args(argv)
    args.images = int(positive(args.images, "images", int))
    args.samples = int(positive(args.samples, "samples", int))
    args.reader_epochs = int(positive(args.reader_epochs, "reader-epochs", int))
    args.left = [int(left) for left in positives(args.left, "left", int)]
    args.balance = [fraction(text) for text in args.balance.split(",")]
    return args


def fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise InputError(f"--balance: got {text!r}, expected numbers from 0 to 1")
    return value


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    overrides = read_overrides(args.medsynth_config)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    whole = prepare_store(args, args.out / "store", Split())
    stores = {left: thinned(whole, args.rare, left, args.seed) for left in args.left}
    yardstick = Yardstick.of(whole, args.rare, args.seed, args.reader_epochs)
    sheet = {f"real, {args.rare}": to_uint8(yardstick.rare.images)}
    rows: list[dict[str, Any]] = []
    for left, store in stores.items():
        for balance in args.balance:
            training = {"images": args.images, "precision": args.precision} | overrides.get("training", {})
            values = {"family": "diffusion"} | overrides | {"training": training | {"balance": balance}}
            model = config.parse(Diffusion, values, "medsynth")
            name = f"{left} images, balance {balance:g}"
            labels = yardstick.asked(args.samples)
            drawn = draw(store, model, labels, args.seed, args.out / f"{left}_{balance:g}")
            rows.append({"left": left, "balance": balance} | yardstick.judge(drawn, args.samples, store))
            sheet[name] = to_uint8(drawn[: args.samples])
            write_table(args.out / "rare_classes.csv", COLUMNS, rows)  # what is there survives what comes after
            pictures.contact_sheet(args.out / "contact_sheet.png", sheet)


if __name__ == "__main__":
    run_or_exit(main)
