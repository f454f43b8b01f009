"""The ways in which a classifier is trained: what it draws its batches from, and for which part of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REAL = "real"
DUPLICATES = "real, duplicated"
SYNTHETIC = "synthetic"
UNFILTERED = "real + 1 x unfiltered"
PRETRAINED = "synthetic, then real"
BASELINES = (REAL, DUPLICATES)


@dataclass(frozen=True)
class Pools:
    """Positions in one array of images: real ones first, then synthetic ones.

    Attributes:
        labels: (n,) class of each, counted from 0.
        real, kept, all_synthetic: positions; kept are the samples that are released.
    """

    labels: np.ndarray
    real: np.ndarray
    kept: np.ndarray
    all_synthetic: np.ndarray


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        phases: what batches are drawn from, one after the other, each with its share of the steps.
        dose: samples over real images; None where that is not the question.
        note: what is not as the configuration asks.
    """

    name: str
    phases: tuple[tuple[np.ndarray, float], ...]
    real: int
    synthetic: int
    dose: float | None = None
    note: str = ""


def arms(pools: Pools, doses: Sequence[float], rng: np.random.Generator) -> list[Arm]:
    """All ways of training that the samples allow, the two without samples first; doses up to one that takes all.

    Duplicates are of real images, as many of each class as samples of it are in the arm of dose 1: what more images of
    a class are worth if they show nothing new.
    """
    real, count = pools.real, len(pools.real)
    found = [Arm(REAL, ((real, 1.0),), count, 0, 0.0)]
    one = drawn(pools.kept, count, rng)
    copies = _duplicates(pools, one, rng)
    found.append(Arm(DUPLICATES, ((np.concatenate([real, copies]), 1.0),), count + len(copies), 0))
    if not len(pools.kept):
        return found
    found.append(Arm(SYNTHETIC, ((pools.kept, 1.0),), 0, len(pools.kept)))
    for dose in doses:
        wanted = round(dose * count)
        chosen = one if wanted == count else drawn(pools.kept, wanted, rng)
        note = f"{len(chosen)} kept samples, {wanted} wanted" if len(chosen) < wanted else ""
        both = np.concatenate([real, chosen])
        found.append(Arm(f"real + {dose:g} x synthetic", ((both, 1.0),), count, len(chosen), dose, note))
        if note:  # a larger dose would be the same images
            break
    unfiltered = drawn(pools.all_synthetic, len(one), rng)
    found.append(Arm(UNFILTERED, ((np.concatenate([real, unfiltered]), 1.0),), count, len(unfiltered)))
    found.append(Arm(PRETRAINED, ((pools.kept, 0.5), (real, 0.5)), count, len(pools.kept)))
    return found


def drawn(pool: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many positions of a pool, none twice; all of it where it has fewer."""
    return rng.permutation(pool)[:count]


def _duplicates(pools: Pools, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Real images, drawn with replacement, as many of each class as there are samples of it."""
    copies = [np.empty(0, np.int64)]
    for label, count in zip(*np.unique(pools.labels[samples], return_counts=True), strict=True):
        of_class = pools.real[pools.labels[pools.real] == label]
        if len(of_class):
            copies.append(rng.choice(of_class, count))
    return np.concatenate(copies)
