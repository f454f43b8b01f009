"""The machine: its matrix-multiply ceiling, which no network can exceed, and the memory that was taken of it."""

from __future__ import annotations

import resource
import time

import torch

SIDES = {"cpu": (768, 1024, 1536, 2048), "cuda": (4096, 8192)}


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """GiB: of the whole process so far on a CPU, of tensors since the last reset on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matmul_gflops(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of one square matrix multiplication, the best of several sizes.

    Call it between the measurements that it is compared with: a machine's clock changes from minute to minute.
    """
    best = 0.0
    for side in SIDES[device.type]:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        torch.mm(a, b)
        synchronise(device)
        started = time.perf_counter()
        torch.mm(a, b)
        synchronise(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - started) / 1e9)
    return best
