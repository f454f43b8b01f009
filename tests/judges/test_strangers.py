import numpy as np
import pytest
from scipy.stats import norm

from medsynth.judges.strangers import HEAVIER, stranger_limit

MEAN, DEVIATION = 0.2, 0.15  # of the likeness to one stranger, on Fisher's scale


def nearest(count: int, among: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(MEAN, DEVIATION, (count, among))
    return np.tanh(drawn.max(1))


def truth(total: int, exceeded: float) -> float:
    return np.tanh(HEAVIER * norm.ppf((1 - exceeded) ** (1 / total), MEAN, DEVIATION))


@pytest.mark.parametrize(("among", "total", "exceeded"), [(8, 8, 0.005), (8, 1000, 0.001), (300, 300, 0.01)])
def test_the_limit_of_normal_strangers(among, total, exceeded):
    found = stranger_limit(nearest(20000, among), among, exceeded, total)
    assert np.arctanh(found) == pytest.approx(np.arctanh(truth(total, exceeded)), abs=0.05)


def test_duplicates_among_the_more_alike_half_change_nothing():
    likeness = np.sort(nearest(2000, 8))
    spoilt = likeness.copy()
    spoilt[1100:] = 0.9999
    assert stranger_limit(spoilt, 8, 0.01) == stranger_limit(likeness, 8, 0.01)


def test_more_strangers_and_rarer_ones_are_more_alike():
    likeness = nearest(500, 8)
    assert (
        stranger_limit(likeness, 8, 0.01) < stranger_limit(likeness, 8, 0.001) < stranger_limit(likeness, 8, 0.001, 99)
    )


def test_without_images_there_is_no_limit_below_one():
    assert stranger_limit(np.array([]), 8, 0.01) == 1.0
