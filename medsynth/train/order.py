"""Which training images come when: an endless series of shuffled epochs, in which rare classes may come more often."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

KEPT = 2  # epochs: a batch may end in the next one, and drawing the order of a million rows takes as long as a step


class TrainingOrder:
    """The rows at any positions of the series, from the seed alone.

    An epoch has as many rows as there are images. A class has a part of them in proportion to its number of images to
    the power `balance`: at 1 every image comes once in each epoch, at 0 every class as often as any other. Within a
    class every image comes once before any comes again.
    """

    def __init__(self, seed: int, labels: Sequence[str], balance: float = 1.0) -> None:
        """labels: (n,) the class of each image."""
        self._seed = seed
        self._size = len(labels)
        values, classes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        self._rows = [np.flatnonzero(classes == number) for number in range(len(values))]
        self._drawn = shares(counts, balance)
        self._epoch = lru_cache(KEPT)(self._draw)

    def rows(self, first: int, count: int) -> list[int]:
        """Rows at positions first … first + count."""
        rows: list[int] = []
        while len(rows) < count:
            epoch, offset = divmod(first + len(rows), self._size)
            rows.extend(self._epoch(epoch)[offset : offset + count - len(rows)].tolist())
        return rows

    def _draw(self, epoch: int) -> np.ndarray:
        """The rows of an epoch, in its order."""
        chosen = [
            self._of_class(number, epoch * count, count)
            for number, count in enumerate(self._drawn.tolist())
            if count  # a class may have none where there are more classes than an epoch has room for
        ]
        order = np.random.default_rng((self._seed, epoch)).permutation(self._size)
        return np.sort(np.concatenate(chosen))[order]

    def _of_class(self, number: int, first: int, count: int) -> np.ndarray:
        """Positions first … first + count of the shuffled rounds through a class."""
        of_class, parts = self._rows[number], []
        while count:
            turn, offset = divmod(first, len(of_class))
            order = np.random.default_rng((self._seed, number, turn)).permutation(len(of_class))
            parts.append(of_class[order[offset : offset + count]])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)


def shares(counts: np.ndarray, balance: float) -> np.ndarray:
    """How many of sum(counts) draws each class has, in proportion to counts^balance: whole numbers of the same sum."""
    exact = counts**balance / (counts**balance).sum() * counts.sum()
    drawn = np.floor(exact).astype(int)
    largest = np.argsort(drawn - exact, kind="stable")[: counts.sum() - drawn.sum()]
    drawn[largest] += 1
    return drawn
