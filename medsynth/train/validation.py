"""The score of held-out images: with the same noise every time, whatever the batch size, memory and processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from medsynth.errors import is_out_of_memory
from medsynth.machine.processes import Processes
from medsynth.models.contract import Batch
from medsynth.train.batches import Examples, derive_seed

log = logging.getLogger(__name__)

MOST_IMAGES = 512
BLOCK = 16  # images that are scored together: their noise is that of the block, and a family may spread it over them


class Validation:
    """Up to MOST_IMAGES held-out images, evenly spread over the split, in blocks of fixed size.

    A block draws its noise from the seed and its position alone. Processes share the blocks. Where memory is short,
    networks are called on fewer images at once; what they are called on stays the same.

    Attributes:
        at_once: images in one call of a network, at most.
    """

    def __init__(self, examples: Examples, seed: int, processes: Processes) -> None:
        self.examples = examples
        self.seed = seed
        self.processes = processes
        self.rows = range(0, len(examples), -(-len(examples) // MOST_IMAGES))
        self.at_once = BLOCK

    def mean(
        self, score: Callable[[Batch], Tensor | None], networks: Iterable[nn.Module], at_once: int
    ) -> float | None:
        """The mean score, the same in every process; None where there is no score.

        Args:
            score: of a batch, (N,).
            networks: that the batch goes through, each of which treats its images one by one.
            at_once: images in one call of a network, at most.
        """
        self.at_once = min(self.at_once, at_once)
        networks = list(networks)
        total = torch.zeros(2, dtype=torch.float64, device=self.examples.device)  # of scores, and how many
        starts = range(0, len(self.rows), BLOCK)
        for start in starts[self.processes.rank :: self.processes.count]:
            if (scores := self._score(score, networks, start)) is not None:
                total += torch.stack([scores.double().sum(), total.new_tensor(len(scores))])
        self.processes.add_up([total])
        known, count = total.tolist()
        return self.processes.agree(known / count, total.device) if count else None

    def _score(self, score: Callable[[Batch], Tensor | None], networks: list[nn.Module], start: int) -> Tensor | None:
        """The scores of one block, in smaller parts where memory runs out."""
        rows = self.rows[start : start + BLOCK]
        while True:
            torch.manual_seed(derive_seed(self.seed, start))
            size = min(self.at_once, len(rows))
            try:
                with in_parts(networks if size < len(rows) else (), size):
                    return score(self.examples.gather(rows))
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                self.at_once = (size + 1) // 2
                log.warning("validation: out of memory; going on with %d images at once", self.at_once)


@contextmanager
def in_parts(networks: Iterable[nn.Module], most: int) -> Iterator[None]:
    """Call networks on at most so many images at once while the block runs; their callers see whole batches."""
    networks = list(networks)
    if not networks:
        yield
        return
    for network in networks:
        network.forward = partial(_by_parts, network.forward, most)  # shadows that of its class
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled network would not ask for its forward anew
            yield
    finally:
        for network in networks:
            del network.forward


def _by_parts(forward: Callable[..., Any], most: int, *arguments: Any) -> Any:
    """Tensors in the arguments, also inside of data classes, have the images along their first axis."""
    count = len(arguments[0])
    parts = [_rows(arguments, slice(start, start + most)) for start in range(0, count, most)]
    return torch.cat([forward(*part) for part in parts])


def _rows(value: Any, rows: slice) -> Any:
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, tuple):
        return tuple(_rows(part, rows) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _rows(getattr(value, field.name), rows) for field in fields(value)})
    return value
