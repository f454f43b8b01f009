"""Statistics of what was asked and what was read: pure functions of arrays, rows first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NAN = float("nan")
FAIR_CORRELATION = 0.3


@dataclass(frozen=True)
class Criterion:
    """What tells whether a field can be read at all: on held-out real images its interval must lie above the limit.

    Attributes:
        of: the arrays of `Kind.asked_and_read` to a number that is higher for a better reader.
        limit: the same arrays to what a reader reaches that does not look at the image.
    """

    name: str
    of: Callable[..., float]
    limit: Callable[..., float]


@dataclass(frozen=True)
class Statistic:
    """A number that compares what was asked with what was read.

    Attributes:
        unit: of the number, empty for a share or a coefficient.
        of: the arrays of `Kind.asked_and_read`, rows first, to the number; NaN where it is not defined.
        criterion: what must be met on real images for the number to say anything of others.
        hits: the arrays to (k,) bool where the number is their mean; None where it is no share of images.
    """

    name: str
    higher_is_better: bool
    unit: str
    of: Callable[..., float]
    criterion: Criterion
    hits: Callable[..., np.ndarray] | None = None


def share(name: str, hits: Callable[..., np.ndarray], criterion: Criterion) -> Statistic:
    """The share of images that are hits; NaN where there is none."""

    def of(*arrays: np.ndarray) -> float:
        found = hits(*arrays)
        return float(found.mean()) if len(found) else NAN

    return Statistic(name, True, "", of, criterion, hits)


def balanced_accuracy(asked: np.ndarray, read: np.ndarray) -> float:
    """Mean over the classes that were asked of the share of each that is read as such; NaN for one class alone."""
    classes = np.unique(asked)
    return float(np.mean([(read == value)[asked == value].mean() for value in classes])) if len(classes) > 1 else NAN


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve of scores (n,) and (m,): the share of pairs in which the positive one is higher.

    A tie counts half. NaN where a side is empty. Source: Hanley & McNeil 1982.
    """
    if not len(positive) or not len(negative):
        return NAN
    ordered = np.sort(negative)
    below, up_to = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(ordered)))


def by_chance(asked: np.ndarray, read: np.ndarray) -> float:
    """Balanced accuracy of readings that do not depend on the image."""
    return 1 / max(len(np.unique(asked)), 1)


def mean_absolute_error(asked: np.ndarray, read: np.ndarray) -> float:
    """In the field's unit."""
    return float(np.abs(asked - read).mean()) if len(asked) else NAN


def rank_correlation(asked: np.ndarray, read: np.ndarray) -> float:
    """Spearman's; NaN where either side does not vary."""
    from scipy import stats

    if len(asked) == 0 or np.ptp(asked) == 0 or np.ptp(read) == 0:
        return NAN
    return float(stats.spearmanr(asked, read).statistic)


def same(asked: np.ndarray, read: np.ndarray) -> np.ndarray:
    """(k,) whether an image is read as asked."""
    return asked == read


def at_most_one_step(asked: np.ndarray, read: np.ndarray) -> np.ndarray:
    """(k,) whether the rank is read at most one step off."""
    return np.abs(asked - read) <= 1


def found(asked: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Of the images with a label, whether it is read in them."""
    return read[asked]


def not_found(asked: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Of the images without a label, whether it is not read in them."""
    return ~read[~asked]


def fair_correlation(asked: np.ndarray, read: np.ndarray) -> float:
    """The rank correlation that a reader must pass."""
    return FAIR_CORRELATION


BALANCED = Criterion("balanced_accuracy", balanced_accuracy, by_chance)
CORRELATED = Criterion("rank_correlation", rank_correlation, fair_correlation)
ACCURACY = share("accuracy", same, BALANCED)
SENSITIVITY = share("sensitivity", found, BALANCED)
SPECIFICITY = share("specificity", not_found, BALANCED)
