#!/usr/bin/env python3
"""Images per second of training, and the share of the machine's matrix-multiply ceiling that is reached.

    python benchmarks/training_speed.py --out DIR

medsynth's default model beside the networks of MONAI's 2D DDPM tutorial and of denoising-diffusion-pytorch's README.
Each contender and size runs in a process of its own, with a limit on its memory; a batch that does not fit is halved.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import contenders
import numpy as np
import pandas as pd
import pictures
import psutil
import torch
from ceiling import matmul_gflops, peak_memory, synchronise
from command import add_precision, positives, run_or_exit, write_table
from contract import Contender, NotInstalledError, Task
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medsynth.artifacts.store import Store, StoreInfo
from medsynth.errors import InputError, is_out_of_memory
from medsynth.machine.devices import Precision, autocast_dtype, choose_device

COLUMNS = (
    "contender",
    "size",
    "device",
    "batch_size",
    "parameters",
    "precision",
    "gflop_per_image",
    "images_per_s",
    "gflop_per_s",
    "ceiling_gflop_per_s",
    "share_of_ceiling",
    "peak_memory_gib",
    "note",
)
CONTENDERS = "medsynth,monai:tutorial,denoising_diffusion_pytorch:readme"
IMAGES = 64  # in the store of noise that is trained on
MODALITY = {2: "chest_xray", 3: "mri_volume"}
MEMORY_SHARE = 0.9
TOO_LARGE = "does not fit into memory"


def noise_store(size: Sequence[int], images: int = IMAGES) -> Store:
    """Noise with two classes: what the images show does not change how long they take.

    Args:
        size: spatial size of the images, which are volumes where it has three numbers.
        images: their number, even.
    """
    rng = np.random.default_rng(0)
    splits = ["train"] * (images - 2) + ["val", "test"]
    samples = pd.DataFrame({"split": splits, "pathology": ["a", "b"] * (images // 2)}, dtype=str)
    info = StoreInfo(
        version=2,
        dataset="noise",
        modality=MODALITY[len(size)],
        simulated=True,
        size=tuple(size),
        channels=1,
        conditions={"pathology": {"kind": "categorical", "values": ("a", "b")}},
        label="pathology",
        structures={},
        rows_in=images,
        rows_out=images,
        rows_quarantined=0,
        digest="",
    )
    return Store(info, rng.integers(0, 65536, (images, 1, *size), np.uint16), None, samples)


def limit_memory() -> None:
    """Let an allocation fail rather than the system: all that is private counts, files that are mapped do not."""
    info = psutil.Process().memory_info()
    used = getattr(info, "data", info.rss)  # Linux limits what is mapped, touched or not
    limit = int(used + MEMORY_SHARE * psutil.virtual_memory().available)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def attempt(name: str, size: int, batch_size: int, repeats: int, threads: int, precision: Precision) -> dict[str, Any]:
    """The numbers of one row, in a process of its own: what a failed step has taken is given back with it."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    device = choose_device()
    if device.type == "cpu":
        limit_memory()
    return measure(name, size, batch_size, repeats, device, precision)


def measure(
    name: str, size: int, batch_size: int, repeats: int, device: torch.device, precision: Precision
) -> dict[str, Any]:
    ours = name.partition(":")[0] == "medsynth"
    changes = {} if ours else {"batch_size": batch_size}
    training = {"effective_batch_size": batch_size, "batch_size": batch_size}
    store = noise_store((size, size))

    def build(compiled: bool) -> Contender:
        task = Task(store, device, 0, 1e6, {"training": training} if ours else {}, compiled, precision)
        return contenders.build(name, task, **changes)

    contender = build(compiled=False)
    # Attention as plain multiplications while counting: the counter knows no fused kernel of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        contender.step()
    gflop = counter.get_total_flops() / 1e9
    if device.type == "cuda":
        contender = build(compiled=True)
        torch.cuda.reset_peak_memory_stats(device)
    contender.step()
    synchronise(device)

    dtype = autocast_dtype(device, precision)
    seconds, ceilings = [], [matmul_gflops(device, dtype)]
    for _ in range(repeats):
        started = time.perf_counter()
        contender.step()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
        ceilings.append(matmul_gflops(device, dtype))
    middle, ceiling = statistics.median(seconds), max(ceilings)
    return {
        "batch_size": batch_size,
        "parameters": contender.parameters,
        "precision": str(dtype).removeprefix("torch."),
        "gflop_per_image": gflop / batch_size,
        "images_per_s": batch_size / middle,
        "gflop_per_s": gflop / middle,
        "ceiling_gflop_per_s": ceiling,
        "share_of_ceiling": gflop / middle / ceiling,
        "peak_memory_gib": peak_memory(device),
    }


def fitting_attempt(name: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """The row of the largest batch that fits, or one with a note in place of numbers."""
    row: dict[str, Any] = {"contender": name, "size": size, "device": args.device}
    batch_size = args.batch_size
    while batch_size:
        found = apart(attempt, name, size, batch_size, args.repeats, args.threads, args.precision)
        if found.get("note") != TOO_LARGE:
            return row | found
        batch_size //= 2
    return row | {"note": "one image does not fit into memory"}


def apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` returns in a process of its own; where it is missing a package, or memory, a `note` that says so."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        return pool.submit(work, *arguments).result()
    except NotInstalledError as missing:
        return {"note": str(missing)}
    except (RuntimeError, MemoryError) as error:
        if not (is_out_of_memory(error) or isinstance(error, BrokenProcessPool)):  # the system ended it
            raise
        return {"note": TOO_LARGE}
    finally:
        pool.shutdown()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contenders", default=CONTENDERS, help="name or name:setting, by commas")
    parser.add_argument("--sizes", default="64,128,256", help="pixels a side, by commas")
    parser.add_argument("--batch-size", type=int, default=32, help="halved until it fits into memory")
    parser.add_argument("--repeats", type=int, default=5, help="steps, of which the median counts")
    add_precision(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    sizes = positives(args.sizes, "sizes", int)
    if min(args.batch_size, args.repeats, args.threads) < 1:
        raise InputError("--batch-size, --repeats and --threads: expected whole numbers above 0")
    names = args.contenders.split(",")
    for name in names:
        contenders.parse_name(name)
    device = choose_device()
    args.device = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {args.threads} threads"
    rows: list[dict[str, Any]] = []
    for size in sizes:
        for name in names:
            row = fitting_attempt(name, size, args)
            outcome = (
                row.get("note") or f"{row['images_per_s']:.3g} images/s, {row['share_of_ceiling']:.0%} of the ceiling"
            )
            print(f"{name} at {size}: {outcome}", file=sys.stderr)
            rows.append(row)
            table = write_table(args.out / "training_speed.csv", COLUMNS, rows)
    y = ("images_per_s", "share_of_ceiling", "peak_memory_gib")
    pictures.lines(
        args.out / "training_speed.png", table, "size", y, "contender", ("size", "images_per_s"), args.device
    )


if __name__ == "__main__":
    run_or_exit(main)
