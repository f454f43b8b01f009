"""Bootstrap over subjects: images of one subject are not independent, so that whole subjects are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LOW, HIGH = 0.025, 0.975


def subject_draws(subjects: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Positions of all images of as many subjects as there are, drawn with replacement, `count` times.

    Args:
        subjects: (n,) of each image.
    """
    rng = np.random.default_rng(seed)
    groups = np.unique(subjects, return_inverse=True)[1]
    rows = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    for chosen in rng.integers(len(rows), size=(count, len(rows))):
        yield np.concatenate([rows[subject] for subject in chosen])


def percentile_interval(draws: np.ndarray, comparisons: int = 1) -> tuple[float, float]:
    """95 % of the draws lie within; those that are NaN do not count, and NaN is the interval where all are.

    Args:
        comparisons: of how many values this one was chosen: the interval then holds for all together (Bonferroni; Dunn
            1961, "Multiple comparisons among means").
    """
    if np.isnan(draws).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(draws, [LOW / comparisons, 1 - (1 - HIGH) / comparisons])
    return float(low), float(high)
