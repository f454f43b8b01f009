"""What a training step takes of a device's memory, measured on a few images, and the batch that fits."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medsynth.errors import InputError, is_out_of_memory

SHARE = 0.7  # of what is free, for a step: the rest is for what libraries take inside an operation, and for neighbours
PROBES = (1, 4, 8)  # images
GIB = 2**30


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step takes beside the weights: of all that is alive at once, the most.

    Attributes:
        fixed: whatever the number of images, as gradients and the optimiser's moments.
        each: for each image that goes through the network at once.
    """

    fixed: float
    each: float

    def of(self, images: int) -> float:
        """Bytes of a step of so many images."""
        return self.fixed + images * self.each


def measure(attempt: Callable[[int], None], largest: int, free: int, beside: int = 0) -> StepMemory:
    """Run a step of one image, and of more where they are sure to fit.

    Args:
        attempt: runs forward and backward on the given number of images.
        largest: images that go through the network at once, at most.
        free: bytes of the device.
        beside: bytes that a step takes in the end and the attempt does not.
    Raises:
        InputError: not even one image fits.
    """
    found: dict[int, int] = {}
    for images in PROBES:
        if found and (images > largest or images * found[1] > SHARE * (free - beside)):
            break
        try:
            found[images] = peak_bytes(partial(attempt, images), free - beside)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if found:  # other programs have taken memory since
                break
            raise InputError(
                f"out of memory: one image at a time takes more than the {free / GIB:.1f} GiB that are free; "
                "batch_size is 1 already: set training.gradient_checkpointing: true, fewer channels in the model, or "
                "a smaller size, or take a device with more memory"
            ) from None
    if len(found) == 1:
        return StepMemory(beside, found[1])
    (few, first), (more, last) = [*found.items()][-2:]
    each = max(0.0, (last - first) / (more - few))
    return StepMemory(beside + first - few * each, each)


def fitting_batch_size(step: StepMemory, largest: int, free: int) -> int:
    """The largest halving of `largest` whose training step fits."""
    size = largest
    while size > 1 and step.of(size) > SHARE * free:
        size = (size + 1) // 2
    return size


def peak_bytes(work: Callable[[], None], limit: float) -> int:
    """The most bytes of tensors made by `work` that are alive at once, its backward passes and recomputations included.

    Raises:
        MemoryError: they would exceed the limit; told before the system ends a process that takes too much.
    """
    with _Ledger(limit) as ledger:
        work()
    return ledger.most


class _Ledger(TorchDispatchMode):
    """Counts each storage that an operation makes, from then until it is freed."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.now = self.most = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(made):
            key = storage._cdata
            if key in given or key in self._alive:  # a view, or changed in place
                continue
            self._alive[key] = storage.nbytes()
            self.now += self._alive[key]
            weakref.finalize(storage, self._freed, key)
        self.most = max(self.most, self.now)
        if self.now > self.limit:
            raise MemoryError(f"{self.now:,} bytes, {self.limit:,.0f} are free")
        return made

    def _freed(self, key: int) -> None:
        self.now -= self._alive.pop(key)


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
