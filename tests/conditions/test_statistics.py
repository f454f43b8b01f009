import numpy as np
import pytest

from medsynth.conditions import statistics


def test_rank_correlation_of_a_constant_is_not_a_number() -> None:
    assert statistics.rank_correlation(np.arange(5.0), np.exp(np.arange(5.0))) == pytest.approx(1)
    assert np.isnan(statistics.rank_correlation(np.ones(5), np.arange(5.0)))


def test_rates_of_a_label_are_those_of_the_counted_table() -> None:
    asked = np.array([1, 1, 1, 1, 0, 0], bool)
    read = np.array([1, 1, 1, 0, 1, 0], bool)
    assert statistics.sensitivity(asked, read) == 3 / 4
    assert statistics.specificity(asked, read) == 1 / 2
    assert statistics.balanced_accuracy(asked, read) == 5 / 8
    assert np.isnan(statistics.balanced_accuracy(np.ones(3, bool), np.ones(3, bool)))  # no image without it


def test_steps_of_ranks() -> None:
    asked, read = np.array([0.0, 1, 2, 4]), np.array([0.0, 2, 4, 4])
    assert statistics.within_one_step(asked, read) == 3 / 4
    assert statistics.mean_absolute_error(asked, read) == 3 / 4
