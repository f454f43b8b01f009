"""How good the images of one setting are beside those of another, on the same conditions and seeds.

Three measures, each 0 for images that cannot be told from real ones:

fidelity   energy distance (Székely & Rizzo 2013) of the features of a fixed network that no metric of a release is
           measured in; it grows with distance itself, so that few images far out do not outweigh all others, as they
           do by KID's cubic kernel
adherence  how much worse a reader of tuning's own reads what was asked for from synthetic images than from real ones:
           the mean over the fields that it can read, of shares and rank correlations; better than real counts as
           nothing
texture    squared distance of the mean texture, in standard deviations between real images

A setting's score against another one is the mean over the measures of ln(measure / the other's measure): halving one
counts as much as halving another one, whatever its unit. A measure below its own standard error counts as that error,
as then it is not known to differ from 0, and one below the least that makes a difference counts as that. Subjects are
resampled together for all settings (paired bootstrap), so that what they have in common cancels; the score's standard
error is its spread over these draws.

An image is burnt out where more of its pixels are as bright, or as dark, as can be, than of nearly all real ones. The
measures hardly see a small lesion that is burnt out. So the share of such images counts as if it were one of them, and
below MOST_BURNT it makes no difference: a blurred setting does not win for having fewer black pixels than real images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

DRAWS = 100
MOST_BURNT = 0.1  # of the images; of real ones about 0.05 by definition
REAL_SHARE = 0.95  # of real images that have no more pixels at an end than the limit
TOLERATED = 1e-3  # of the pixels, above that
MEASURES = ("fidelity", "adherence", "texture")


@dataclass(frozen=True)
class Scale:
    """What features of real images have in common: they are compared after it is taken off."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, least: float = 0.0) -> Scale:
        """least: deviation that every feature has at least; of one that hardly varies, a tenth of the median is."""
        deviation = features.std(0)
        return cls(features.mean(0), np.maximum(deviation, max(least, np.median(deviation) / 10, 1e-9)))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) / self.deviation


def energy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-|x - y| / sqrt(d), whose squared MMD is the energy distance: (n, d) and (m, d) → (n, m)."""
    return -cdist(x, y) / x.shape[1] ** 0.5


def linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x.y / d: its squared MMD is the mean squared difference of the means."""
    return x @ y.T / x.shape[1]


def pair_terms(kernel, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), whose mean over i != j is the squared MMD.

    Source: Gretton et al. 2012, "A kernel two-sample test", Lemma 6, for as many images on either side.

    Args:
        real, synthetic: (n, d), paired by what was asked for.
    Returns:
        (n, n).
    """
    between = kernel(real, synthetic)
    return kernel(real, real) + kernel(synthetic, synthetic) - between - between.T


def weighted_mmd(terms: np.ndarray, subjects: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(draws,) the mean of h over pairs of images of different subjects, each image as often as its subject.

    Args:
        terms: (n, n).
        subjects: (n,) number of the subject whose conditions an image was asked for by.
        counts: (draws, number of subjects).
    """
    apart = subjects[:, None] != subjects[None, :]
    weights = counts[:, subjects]
    return ((weights @ (terms * apart)) * weights).sum(1) / ((weights @ apart) * weights).sum(1)


def resampled(subjects: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each subject is drawn: (1 + draws, number of subjects); the first row has each once.

    No draw is of one subject alone.
    """
    count = int(subjects.max()) + 1
    drawn = [np.ones(count)]
    while len(drawn) <= draws:
        counts = rng.multinomial(count, np.full(count, 1 / count)).astype(float)
        if (counts > 0).sum() > 1:
            drawn.append(counts)
    return np.stack(drawn)


def burnt_share(synthetic: np.ndarray, real: np.ndarray) -> float:
    """The share of images that are burnt out, at the end where more are.

    Args:
        synthetic, real: (n, 2) and (m, 2), shares of the pixels at either end, as `texture.ends` gives them.
    """
    limits = np.quantile(real, REAL_SHARE, axis=0) + TOLERATED
    return float((synthetic > limits).mean(0).max())


@dataclass(frozen=True)
class Measured:
    """What one setting reaches.

    Attributes:
        values: (measures, 1 + draws), the first column of all subjects as they are.
        burnt: share of its images that are burnt out.
        least: (measures,) what makes no difference below it.
    """

    values: np.ndarray
    burnt: float
    least: np.ndarray | float = 0.0

    @property
    def is_burnt(self) -> bool:
        return self.burnt > MOST_BURNT

    @property
    def burnt_worse(self) -> float:
        """By how much images that are burnt out make a score worse."""
        return math.log(max(self.burnt / MOST_BURNT, 1)) / len(MEASURES)


def score(one: Measured, other: Measured) -> tuple[float, float]:
    """The score of one setting against another, below 0 where it is better, and its standard error."""
    floor = np.maximum(np.maximum(other.values[:, 1:].std(1), other.least), 1e-9)[:, None]
    ratios = np.log(np.maximum(one.values, floor) / np.maximum(other.values, floor)).mean(0)
    return float(ratios[0]), float(ratios[1:].std())


def statistic_draws(statistic, arrays: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> np.ndarray:
    """(draws,) a statistic of resampled rows; rows: positions for each draw."""
    return np.array([statistic(*(array[chosen] for array in arrays)) for chosen in rows])
