#!/usr/bin/env python3
"""How fast phantoms of 2D images render, and how far they lie from real images of their modality.

    python benchmarks/phantoms.py --out DIR
    python benchmarks/phantoms.py --phantom ultrasound --table samples.csv --modality ultrasound --out DIR

Without a table: images per second of one process. With one: KID between the phantom's images and the table's training
split, beside that of the table's held-out images and the same; and the mean power spectra of both.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from collection import add_table, prepare_store
from command import positives, run_or_exit, write_table
from pictures import contact_sheet

from medsynth import registry
from medsynth.artifacts.store import Store, to_intensity
from medsynth.config import PhantomSource, PrepareSettings, Split
from medsynth.errors import InputError
from medsynth.evaluate.fidelity import kid
from medsynth.images.modalities import MODALITIES
from medsynth.judges.features import extract, to_uint8
from medsynth.judges.texture import finest_octave_db, spectrum_db, spectrum_distance_db
from medsynth.phantoms.phantom import Phantom
from medsynth.prepare.prepare import prepare

SPEED = ("phantom", "size", "images", "images_per_s")
LIKENESS = (
    *("phantom", "kid", "floor", "spectrum_distance_db", "finest_octave_db", "slope", "slope_real", "real", "images"),
)
SPLIT = Split(train=0.5, val=0.25, test=0.25)


def flat() -> dict[str, Phantom]:
    """The phantoms of 2D images, by name."""
    found = {name: entry.load() for name, entry in registry.PHANTOMS.items()}
    return {name: phantom for name, phantom in found.items() if MODALITIES[phantom.modality].spatial_dims == 2}


def speeds(sizes: Sequence[int], images: int) -> Iterator[dict[str, Any]]:
    """Images per second of this process, after one that may fill caches; fewer of large ones."""
    for name, phantom in flat().items():
        for size in sizes:
            count = max(1, images * min(sizes) ** 2 // size**2)
            phantom.render(0, (size, size))
            start = time.perf_counter()
            for seed in range(1, count + 1):
                phantom.render(seed, (size, size))
            rate = count / (time.perf_counter() - start)
            yield {"phantom": name, "size": size, "images": count, "images_per_s": rate}


def slope(spectra: np.ndarray) -> float:
    """Exponent b of a power density f^-b over radial frequency f, from mean spectra (n, C, bands) in dB.

    Bands are half octaves: a band is 10 b log10(sqrt 2) dB below the one before it.
    """
    mean = spectra.mean((0, 1))
    return float(-np.polyfit(np.arange(len(mean)), mean, 1)[0] / (10 * np.log10(2**0.5)))


def simulated(name: str, size: tuple[int, ...], images: int, seed: int, folder: Path, threads: int) -> Store:
    """A store of a phantom's images."""
    phantom = flat()[name]
    settings = PrepareSettings(
        seed=seed,
        dataset="phantom",
        data_root=".",
        source=PhantomSource(kind="phantom", phantom=name, count=images),
        modality=phantom.modality,
        size=size,
        fit="pad",
        conditions={"pathology": phantom.conditions["pathology"]},
        label="pathology",
        split=SPLIT,
    )
    prepare(settings, folder, threads)
    return Store.open(folder)


def likeness(name: str, real: Store, made: Store) -> dict[str, Any]:
    """The distance of a phantom's images from real ones."""
    train, held = (real.samples["split"] == "train").to_numpy(), (real.samples["split"] != "train").to_numpy()
    of_train, of_held = (extract(real.images, np.flatnonzero(rows)) for rows in (train, held))
    spectra, spectra_real = (spectrum_db(to_intensity(np.asarray(store.images))) for store in (made, real))
    return {
        "phantom": name,
        "kid": kid(of_train, extract(made.images)),
        "floor": kid(of_train, of_held),
        "spectrum_distance_db": spectrum_distance_db(spectra_real, spectra),
        "finest_octave_db": finest_octave_db(spectra_real, spectra),
        "slope": slope(spectra),
        "slope_real": slope(spectra_real),
        "real": len(real),
        "images": len(made),
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table(parser, required=False)
    parser.add_argument("--phantom", help="the one that is compared with the table")
    parser.add_argument("--sizes", default="64,256", help="pixels a side, for speed")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    if (args.table is None) != (args.phantom is None):
        raise InputError("--phantom and --table go together")
    if args.phantom is not None and args.phantom not in flat():
        raise InputError(f"--phantom: got {args.phantom!r}, expected one of {', '.join(flat())}")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.table is None:
        rows = list(speeds(positives(args.sizes, "sizes", int), args.images))
        print(write_table(args.out / "speed.csv", SPEED, rows).to_string(index=False))
        return
    real = prepare_store(args, args.out / "real", SPLIT)
    if real.info.modality != flat()[args.phantom].modality:
        raise InputError(f"--modality: {args.phantom} makes {flat()[args.phantom].modality}, got {real.info.modality}")
    made = simulated(args.phantom, real.info.size, args.images, args.seed, args.out / "simulated", args.threads)
    print(write_table(args.out / "likeness.csv", LIKENESS, [likeness(args.phantom, real, made)]).to_string(index=False))
    shown = {"real": to_uint8(real.images[:12]), args.phantom: to_uint8(made.images[:12])}
    contact_sheet(args.out / "contact_sheet.png", shown)


if __name__ == "__main__":
    run_or_exit(main)
