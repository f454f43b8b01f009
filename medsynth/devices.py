"""What the machine offers: a device, a layout, a number format, and how large a batch fits."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import psutil
import torch

MEMORY_SHARE = 0.6  # of what is free, left for a batch: the rest is for the optimiser, its peaks and neighbours


def choose_device() -> torch.device:
    """The GPU of this process where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    return torch.device("cpu")


def memory_format(spatial_dims: int) -> torch.memory_format:
    """Channels last: the layout that convolution libraries are fastest in, on CPU and GPU."""
    return {2: torch.channels_last, 3: torch.channels_last_3d}[spatial_dims]


def autocast_dtype(device: torch.device, precision: Literal["auto", "float32", "bfloat16"]) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster (CUDA, AMX), float32 elsewhere."""
    if precision != "auto":
        return getattr(torch, precision)
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def fitting_batch_size(attempt: Callable[[int], None], largest: int, device: torch.device) -> int:
    """The largest halving of `largest` whose training step fits into memory, by the bytes that a small one keeps.

    Args:
        attempt: runs forward and backward on so many images.
    """
    probe = min(2, largest)
    kept = 0

    def count_bytes(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count_bytes, lambda tensor: tensor):
        attempt(probe)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    size = largest
    while size > 1 and size * kept / probe > MEMORY_SHARE * free:
        size = (size + 1) // 2
    return size
