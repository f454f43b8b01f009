"""Batches that a loss learns from, and what they show."""

from collections.abc import Iterator

import numpy as np
import torch

from medsynth.artifacts.store import Store
from medsynth.models.checkpoint import spec_of
from medsynth.models.contract import Batch, ImageSpec
from medsynth.train.batches import Examples
from tests.contracts.examples import toy_store

CPU = torch.device("cpu")


def lessons(store: Store, count: int = 16) -> Iterator[Batch]:
    """Training batches of a store, without end; each seeds torch."""
    examples = Examples(store.split("train"), CPU)
    number = 0
    while True:
        torch.manual_seed(number)
        yield examples.gather(np.random.default_rng(number).choice(len(examples), count).tolist())
        number += 1


def toys(kind: str, dims: int = 2, side: int = 16) -> tuple[Store, ImageSpec, Batch]:
    """A store, its images' spec, and its held-out images."""
    store = toy_store(kind, dims, side)
    val = store.split("val")
    return store, spec_of(store.info), Examples(val, CPU).gather(range(len(val)))
