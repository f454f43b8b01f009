"""Device, memory layout, number format, and free memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import torch

from medsynth.machine import gpus

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def choose_device() -> torch.device:
    """The GPU of this process where there is one, else the CPU.

    torchrun's processes share out those that `machine.launch` claimed, and SLURM assigns its own; for anyone else
    `gpus.claim` picks one that CUDA_VISIBLE_DEVICES leaves.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if "LOCAL_RANK" in os.environ:
        index = int(os.environ["LOCAL_RANK"]) % count
    elif "SLURM_JOB_ID" in os.environ and count == 1:
        index = 0  # of several, the steps of a job still have to find one each
    else:
        (index,) = gpus.claim(gpu_names())
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def gpu_names() -> list[str]:
    """The GPUs that CUDA shows, by UUID: one GPU has another index in a process that sees fewer of them."""
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def memory_format(spatial_dims: int) -> torch.memory_format:
    """Channels last: the layout that convolution libraries are fastest in, on CPU and GPU."""
    return {2: torch.channels_last, 3: torch.channels_last_3d}[spatial_dims]


Precision = Literal["auto", "float32", "bfloat16"]


def autocast_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster (CUDA, AMX, AVX-512 BF16), float32 elsewhere."""
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def free_on(device: torch.device) -> int:
    """Bytes that a device still has."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def free_memory() -> int:
    """Bytes of main memory that this process can still take.

    Memory of the machine and of the job is shared by the processes of a training; a limit of the process is its own.
    """
    shared = min([psutil.virtual_memory().available, *_left_in_control_groups()])
    share = shared // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(0, min([share, *_left_in_address_space()]))


def _left_in_address_space() -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def _left_in_control_groups(membership: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What each limited group around this process leaves: SLURM and containers give a job less than the machine has."""
    if not membership.exists():
        return
    for line in membership.read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            root, limit, used, cache = CONTROL_GROUPS, "memory.max", "memory.current", "active_file inactive_file"
        elif "memory" in controllers.split(","):  # version 1
            root, limit, used = CONTROL_GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_active_file total_inactive_file"
        else:
            continue
        group = root / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root) and (folder / limit).exists() and (folder / used).exists():
                most = (folder / limit).read_text().strip()
                if most != "max":
                    counters = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                    reclaimable = sum(int(counters.get(key, 0)) for key in cache.split())
                    yield int(most) - int((folder / used).read_text()) + reclaimable
