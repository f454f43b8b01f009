"""How good a classifier is, from its probabilities: pure functions of arrays."""

from __future__ import annotations

import numpy as np

from medsynth.conditions import statistics

NAN = float("nan")
BINS = 15  # of the calibration error


def auroc(probability: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that are there of the area under the curve of each against the rest; NaN for one alone.

    Args:
        probability: (n, classes); labels: (n,).
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return NAN
    sides = ((probability[labels == label, label], probability[labels != label, label]) for label in classes)
    return float(np.mean([statistics.auroc(*scores) for scores in sides]))


def recall(probability: np.ndarray, labels: np.ndarray, label: int) -> float:
    """Share of a class's images that are called so; NaN where there is none."""
    of_class = labels == label
    return float((probability[of_class].argmax(1) == label).mean()) if of_class.any() else NAN


def balanced_accuracy(probability: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall over the classes that are there; NaN for one alone."""
    return statistics.balanced_accuracy(labels, probability.argmax(1))


def calibration_error(probability: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of the likeliest class over bins of equal width (Guo et al. 2017, Eq. 3)."""
    confidence, hit = probability.max(1), probability.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == each].mean() - hit[bins == each].mean()) * (bins == each).mean()
            for each in np.unique(bins)]  # fmt: skip
    return float(sum(gaps))
