#!/usr/bin/env python3
"""How good are the images of each size after equal time, and how much memory does their training take?

    python benchmarks/resolution.py --table samples.csv --sizes 64,128,256 --minutes 4 --out DIR

One contender is trained at each size, small to large; figures are those of time_to_quality.py.
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

import contenders
import pictures
import torch
from ceiling import peak_memory
from collection import add_table, prepare_store, read_overrides
from command import add_run, positive, positives, run_or_exit, write_table
from contract import Task
from time_to_quality import COLUMNS, SHARES, Judge, compete, refuse_small_budget

from medsynth.machine.devices import choose_device


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_table(parser)
    parser.add_argument("--sizes", default="64,128,256", help="pixels a side, instead of --size")
    parser.add_argument("--minutes", default="4", help="training time at each size")
    parser.add_argument("--contender", default="medsynth", help="name or name:setting")
    parser.add_argument("--samples", default="200", help="images judged")
    add_run(parser)
    args = parser.parse_args(argv)
    args.sizes = sorted({int(size) for size in positives(args.sizes, "sizes", int)})
    args.minutes = positive(args.minutes, "minutes")
    args.samples = int(positive(args.samples, "samples", int))
    contenders.parse_name(args.contender)
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    overrides = read_overrides(args.medsynth_config)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    device = choose_device()
    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        args.size = str(size)
        store = prepare_store(args, args.out / f"store_{size}", SHARES)
        task = Task(store, device, args.seed, args.minutes, overrides, device.type == "cuda", args.precision)
        refuse_small_budget([args.contender], task)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        judge = Judge(store, args.samples, args.seed)
        (row,), images = compete(args.contender, task, judge, [1.0])
        rows.append({"size": size} | row | {"peak_memory_gib": peak_memory(device)})
        write_table(args.out / "resolution.csv", ("size", *COLUMNS, "peak_memory_gib"), rows)
        sheet = {"real, held out": judge.real, f"{args.contender}, {size} pixels": images}
        pictures.contact_sheet(args.out / f"contact_sheet_{size}.png", sheet)
        gc.collect()


if __name__ == "__main__":
    run_or_exit(main)
