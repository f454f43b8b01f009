"""`python -m medsynth.machine.launch N -m MODULE ...`: N processes of one training on one machine, each on a GPU.

It claims N GPUs, waiting until so many are free, and becomes torchrun, which sees those alone. Without a GPU the
processes share the CPU.
"""

from __future__ import annotations

import logging
import os
import sys

import torch

from medsynth.errors import InputError
from medsynth.machine import gpus
from medsynth.machine.devices import gpu_names

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def launch(count: int, command: list[str]) -> None:
    """Replace this process by torchrun.

    Args:
        command: what Python is given in each of the processes.
    Raises:
        InputError: CUDA shows fewer GPUs than there are processes.
    """
    if torch.cuda.is_available():
        _take_gpus(count)
    os.execv(sys.executable, [sys.executable, *TORCHRUN, str(count), *command])


def _take_gpus(count: int) -> None:
    names = gpu_names()
    if len(names) < count:
        raise InputError(f"{count} processes need a GPU each, CUDA shows {len(names)}")
    if "SLURM_JOB_ID" in os.environ and len(names) == count:
        return  # a job's own GPUs
    chosen = gpus.claim(names, count)
    gpus.hand_on()
    # As they were named to this process: by index, by UUID, or as parts of a GPU.
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = shown.split(",") if shown else [str(index) for index in range(len(names))]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible[position] for position in chosen)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        launch(int(sys.argv[1]), sys.argv[2:])
    except InputError as error:
        sys.exit(f"medsynth train: {error}")
