#!/usr/bin/env python3
"""Volumes: voxels per second of training beside MONAI, memory of a training step, and NIfTI files prepared a second.

    python benchmarks/volumes.py --out DIR

Each training is measured in a process of its own, so that its peak of memory is its own. The ratios are of one run, one
contender after the other on the same noise, in the same number format.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import contenders
import numpy as np
import psutil
import torch
from ceiling import peak_memory, synchronise
from command import add_precision, positives, run_or_exit, write_table
from contract import Task
from prepare_speed import prepare_all, write_samples
from training_speed import apart, limit_memory, noise_store

from medsynth import config, registry
from medsynth.artifacts.store import Store
from medsynth.config import TrainSettings
from medsynth.errors import InputError
from medsynth.images.formats import nifti
from medsynth.images.image import Image
from medsynth.machine.devices import Precision, autocast_dtype, choose_device
from medsynth.models.checkpoint import save_model
from medsynth.train.trainer import Trainer

OURS, PEER = "medsynth", "monai:tutorial_3d"
SPEED_COLUMNS = (
    *("size", "contender", "device", "precision", "batch_size", "parameters"),
    *("seconds_per_step", "voxels_per_s", "ratio", "peak_memory_gib", "note"),
)
MEMORY_COLUMNS = ("size", "setting", "precision", "parameters", "before_step_gib", "peak_memory_gib", "note")
PREPARE_COLUMNS = ("contender", "source_size", "stored_size", "volumes", "seconds", "volumes_per_s")
NOISE_VOLUMES = 6  # in the store that is trained on: 4 of them in training
VAE: dict[str, Any] = {"family": "vae"}
# The default's stages; the two finest learn from patches of half the side, and are told where these lie.
PATCHES = (
    {"channels": (128, 192)},
    {"channels": (64, 128)},
    {"channels": (48, 48)},
    {"channels": (32, 32), "patch": 0.5, "positions": True},
    {"channels": (24, 24), "patch": 0.5, "positions": True},
)
MEMORY: dict[str, dict[str, Any]] = {
    "haar": {"family": "diffusion"},
    "haar, gradient checkpointing": {"family": "diffusion", "training": {"gradient_checkpointing": True}},
    "haar, patches": {"family": "diffusion", "stages": PATCHES},
    "autoencoder": VAE,
    "latent": {"family": "latent_diffusion", "parents": {"autoencoder": "vae"}},
}
SPACING_MM = 3.0


def speed(
    name: str, size: int, batch_size: int, repeats: int, warm_up: int, threads: int, precision: Precision
) -> dict[str, Any]:
    """The seconds of a training step of one contender on noise."""
    device = ready(threads)
    store = noise_store((size,) * 3, NOISE_VOLUMES)
    training = {"effective_batch_size": batch_size, "batch_size": batch_size}
    ours = name.partition(":")[0] == OURS
    task = Task(store, device, 0, 1e6, {"training": training} if ours else {}, device.type == "cuda", precision)
    contender = contenders.build(name, task, **({} if ours else {"batch_size": batch_size}))
    seconds = []
    for _ in range(warm_up + repeats):
        started = time.perf_counter()
        contender.step()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    middle = statistics.median(seconds[warm_up:])
    return {
        "precision": str(autocast_dtype(device, precision)).removeprefix("torch."),
        "batch_size": batch_size,
        "parameters": contender.parameters,
        "seconds_per_step": middle,
        "voxels_per_s": batch_size * size**3 / middle,
        "peak_memory_gib": peak_memory(device),
    }


def ready(threads: int) -> torch.device:
    """Set a process up for one measurement."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    device = choose_device()
    if device.type == "cpu":
        limit_memory()
    return device


def memory(values: dict[str, Any], size: int, threads: int, precision: Precision, folder: Path) -> dict[str, Any]:
    """The memory of a training of one volume at a time: of the process before its first step, and at its peak."""
    device = ready(threads)
    store = noise_store((size,) * 3, NOISE_VOLUMES)
    parents = {role: folder / "model.safetensors" for role in values.get("parents", {})}
    trainer = trainer_of(values, store, device, precision, parents)
    before = psutil.Process().memory_info().rss / 2**30
    trainer.advance()
    synchronise(device)
    return {
        "precision": str(trainer.dtype).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad),
        "before_step_gib": before,
        "peak_memory_gib": peak_memory(device),
    }


def settings_of(values: dict[str, Any], precision: Precision) -> TrainSettings:
    """Of a training of one volume a step; a parent is the autoencoder `VAE`."""
    training = {"precision": precision, "effective_batch_size": 1, "batch_size": 1} | values.get("training", {})
    model = config.parse(registry.FAMILIES[values["family"]].load_settings(), values | {"training": training}, OURS)
    parents = {role: settings_of(VAE, precision).model for role in values.get("parents", {})}
    return TrainSettings(seed=0, model=model, parents=parents)


def trainer_of(
    values: dict[str, Any], store: Store, device: torch.device, precision: Precision, parents: Mapping[str, Path]
) -> Trainer:
    """A training as the step `train` begins it: its settings written out for the size of the volumes."""
    settings = settings_of(values, precision)
    of_size = {role: parent.for_images(store.info.size) for role, parent in settings.parents.items()}
    model = settings.model.for_images(store.info.size)
    return Trainer(settings.model_copy(update={"model": model, "parents": of_size}), store, device, parents=parents)


def save_untrained_autoencoder(size: int, threads: int, precision: Precision, folder: Path) -> dict[str, Any]:
    """What `latent` begins from: its memory does not depend on what an autoencoder has learnt."""
    store = noise_store((size,) * 3, NOISE_VOLUMES)
    trainer = trainer_of(VAE, store, ready(threads), precision, {})
    save_model(folder, trainer.averages.now, store.info, trainer.settings, {}, 0, 0.0, None)
    return {}


def measure_speed(args: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        found: dict[str, dict[str, Any]] = {}
        for name in (OURS, PEER):
            measured = apart(
                speed, name, size, args.batch_size, args.repeats, args.warm_up, args.threads, args.precision
            )
            found[name] = {"size": size, "contender": name, "device": args.device} | measured
            outcome = measured.get("note") or f"{measured['voxels_per_s']:.4g} voxels/s"
            print(f"{name} at {size}: {outcome}", file=sys.stderr)
        if all("note" not in row for row in found.values()):
            found[OURS]["ratio"] = found[OURS]["voxels_per_s"] / found[PEER]["voxels_per_s"]
        rows += found.values()
        write_table(args.out / "training.csv", SPEED_COLUMNS, rows)


def measure_memory(args: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    size = args.memory_size
    with tempfile.TemporaryDirectory(prefix="volumes_") as name:
        folder = Path(name)
        apart(save_untrained_autoencoder, size, args.threads, args.precision, folder)
        for setting, values in MEMORY.items():
            measured = apart(memory, values, size, args.threads, args.precision, folder)
            rows.append({"size": size, "setting": setting} | measured)
            outcome = measured.get("note") or f"{measured['peak_memory_gib']:.3g} GiB"
            print(f"{setting} at {size}: {outcome}", file=sys.stderr)
            write_table(args.out / "memory.csv", MEMORY_COLUMNS, rows)


def write_volumes(folder: Path, size: int, count: int) -> list[Path]:
    """Phantoms of CT as NIfTI in HU, and the table that names them."""
    phantom = registry.PHANTOMS["ellipsoids"].load()
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    paths = []
    for number in range(count):
        voxels = phantom.render(number, (size,) * 3).voxels
        paths.append(folder / f"{number:04d}.nii.gz")
        paths[-1].write_bytes(nifti.encode(Image(voxels, affine), 1.0, 0.0, {}))
    write_samples(paths)
    return paths


def by_medsynth(paths: list[Path], size: int) -> None:
    prepare_all(paths, "ct_volume", (size,) * 3, processes=1)


def by_monai(paths: list[Path], size: int) -> None:
    from monai.data import DataLoader, Dataset
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, Resize, ScaleIntensityRange

    transforms = Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            Orientation(axcodes="RAS", labels=None),
            ScaleIntensityRange(-1000, 1000, -1, 1, clip=True),
            Resize((size,) * 3, mode="area"),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        loader = DataLoader(Dataset([str(path) for path in paths], transforms), batch_size=4)
        assert sum(len(batch) for batch in loader) == len(paths)


PREPARING: dict[str, Callable[[list[Path], int], None]] = {"medsynth": by_medsynth, "monai": by_monai}


def measure_preparing(args: argparse.Namespace) -> None:
    """The repeats go round, so that a slow minute of the machine hits both."""
    seconds: dict[str, list[float]] = {name: [] for name in PREPARING}
    torch.set_num_threads(1)  # as the one process of `prepare`
    with tempfile.TemporaryDirectory(prefix="volumes_") as name:
        paths = write_volumes(Path(name), args.source_size, args.volumes)
        by_monai(paths[:2], args.stored_size)  # its imports are not what is measured
        for _ in range(args.repeats):
            for contender, work in PREPARING.items():
                started = time.perf_counter()
                work(paths, args.stored_size)
                seconds[contender].append(time.perf_counter() - started)
    rows = []
    for contender, measured in seconds.items():
        middle = statistics.median(measured)
        row = (contender, args.source_size, args.stored_size, len(paths), middle, len(paths) / middle)
        rows.append(dict(zip(PREPARE_COLUMNS, row, strict=True)))
        print(f"{contender}: {len(paths) / middle:.3g} volumes/s", file=sys.stderr)
    write_table(args.out / "preparing.csv", PREPARE_COLUMNS, rows)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "training": measure_speed,
    "memory": measure_memory,
    "preparing": measure_preparing,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="what is measured, by commas")
    parser.add_argument("--sizes", default="32,64,96", help="voxels a side in training, by commas")
    parser.add_argument("--batch-size", type=int, default=1, help="volumes of a training step")
    parser.add_argument("--memory-size", type=int, default=128, help="voxels a side where memory is measured")
    parser.add_argument("--source-size", type=int, default=96, help="voxels a side of the files that are prepared")
    parser.add_argument("--stored-size", type=int, default=64, help="voxels a side once they are prepared")
    parser.add_argument("--volumes", type=int, default=24, help="files that are prepared")
    parser.add_argument("--repeats", type=int, default=3, help="steps, or preparations, of which the median counts")
    parser.add_argument("--warm-up", type=int, default=1, help="training steps before those that count")
    add_precision(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.sizes = positives(args.sizes, "sizes", int)
    parts = args.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(f"--parts: unknown {unknown[0]!r}, expected some of {', '.join(PARTS)}")
    least = {"batch_size": 1, "repeats": 1, "warm_up": 0, "threads": 1, "volumes": 12}
    for key, lowest in least.items():
        if getattr(args, key) < lowest:
            raise InputError(f"--{key.replace('_', '-')}: got {getattr(args, key)}, expected {lowest} or more")
    device = choose_device()
    args.device = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {args.threads} threads"
    for part in parts:
        PARTS[part](args)


if __name__ == "__main__":
    run_or_exit(main)
