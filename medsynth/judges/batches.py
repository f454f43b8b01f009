"""Many images, a few at a time, so that what is worked out in between stays small however many there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medsynth.artifacts.shards import Images

BLOCK = 256  # images


def in_blocks(
    function: Callable[[np.ndarray], np.ndarray], images: Images, rows: np.ndarray | None = None
) -> np.ndarray:
    """`function` of all images, or of some rows of them, joined.

    Args:
        function: of n images, gives n of something: (n, ...).
        images: (N, ...).
        rows: (n,) positions; all if None.
    """
    rows = np.arange(len(images)) if rows is None else rows
    first = function(images[rows[:BLOCK]])
    joined = np.empty((len(rows), *first.shape[1:]), first.dtype)
    joined[:BLOCK] = first
    for start in range(BLOCK, len(rows), BLOCK):
        joined[start : start + BLOCK] = function(images[rows[start : start + BLOCK]])
    return joined
