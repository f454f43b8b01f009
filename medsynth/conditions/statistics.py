"""Statistics of what was asked and what was read: pure functions of arrays, rows first."""

from __future__ import annotations

import numpy as np

NAN = float("nan")


def accuracy(asked: np.ndarray, read: np.ndarray) -> float:
    """Share of images read as asked."""
    return float((asked == read).mean())


def mean_absolute_error(asked: np.ndarray, read: np.ndarray) -> float:
    """In the field's unit."""
    return float(np.abs(asked - read).mean())


def within_one_step(asked: np.ndarray, read: np.ndarray) -> float:
    """Share of images whose rank is read at most one step off."""
    return float((np.abs(asked - read) <= 1).mean())


def rank_correlation(asked: np.ndarray, read: np.ndarray) -> float:
    """Spearman's; NaN where either side does not vary."""
    from scipy import stats

    if np.ptp(asked) == 0 or np.ptp(read) == 0:
        return NAN
    return float(stats.spearmanr(asked, read).statistic)


def sensitivity(asked: np.ndarray, read: np.ndarray) -> float:
    """Share of the images with a label in which it is read; NaN where no image has it."""
    return float(read[asked].mean()) if asked.any() else NAN


def specificity(asked: np.ndarray, read: np.ndarray) -> float:
    """Share of the images without a label in which it is not read; NaN where every image has it."""
    return sensitivity(~asked, ~read)


def balanced_accuracy(asked: np.ndarray, read: np.ndarray) -> float:
    """Mean of sensitivity and specificity: one half by chance."""
    return (sensitivity(asked, read) + specificity(asked, read)) / 2
