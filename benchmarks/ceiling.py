"""The machine's matrix-multiply ceiling: what no network can exceed."""

from __future__ import annotations

import time

import torch

SIDES = {"cpu": (768, 1024, 1536, 2048), "cuda": (4096, 8192)}


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
