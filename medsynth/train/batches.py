"""Batches for training: the tensors of rows, and the seeds of their randomness."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from medsynth.artifacts.store import HALF_RANGE, Store
from medsynth.conditions.kind import Condition
from medsynth.errors import is_out_of_memory
from medsynth.machine.devices import free_on
from medsynth.models.contract import Batch

log = logging.getLogger(__name__)

STORE_SHARE = 0.5  # of what a GPU has free, for a split of the store: the rest is for the training


class Examples:
    """Images and conditions of one split, gathered by row; a memory-mapped store is read page by page.

    A GPU holds a split that leaves it room enough, so that no step waits for a copy. One that does not stays in main
    memory, and each batch is moved.

    Attributes:
        device: where batches are.
    """

    def __init__(self, store: Store, device: torch.device) -> None:
        self.device = device
        self.images = torch.from_numpy(store.images)
        self.condition = store.info.condition_schema.encode(store.samples, store.masks)
        if device.type != "cpu":
            self.images, self.condition = _moved(self.images, self.condition, device)

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, rows: Sequence[int]) -> Batch:
        """Images (N, C, *spatial) float32 in [-1, 1] with their conditions."""
        chosen = torch.as_tensor(rows, device=self.images.device)
        condition, images = self.condition[chosen].to(self.device), self.images[chosen].to(self.device)
        return Batch(condition, decode(images))

    def blocks(self, rows: Sequence[int], size: int) -> Iterator[Tensor]:
        """The images of many rows, at most `size` at a time."""
        for start in range(0, len(rows), size):
            yield decode(self.images[torch.as_tensor(rows[start : start + size], device=self.images.device)])


def _moved(images: Tensor, condition: Condition, device: torch.device) -> tuple[Tensor, Condition]:
    """Both on the device if it has room for them, else as they are."""
    size = images.nbytes + (0 if condition.mask is None else condition.mask.nbytes)
    if size <= STORE_SHARE * free_on(device):
        try:
            return images.to(device), condition.to(device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    log.warning("%d images (%d MB) stay in main memory: %s has no room for them", len(images), size // 10**6, device)
    return images, condition


def decode(stored: Tensor) -> Tensor:
    """uint16 as the store keeps it → float32 in [-1, 1]."""
    return stored.to(torch.float32) / HALF_RANGE - 1


def derive_seed(*parts: int) -> int:
    """One seed from several numbers, far from those of neighbouring numbers, and of the same with zeros after them."""
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1, np.uint64)[0] >> np.uint64(1))
