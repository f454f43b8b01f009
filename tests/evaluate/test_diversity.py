import numpy as np
import pytest

from medsynth.evaluate.diversity import coverage, density

# Points on a line; with one neighbour the radii are 1, 1, 3 and 5.
REAL = np.array([[0.0], [1.0], [4.0], [9.0]])


def test_by_hand() -> None:
    synthetic = np.array([[0.5], [3.0], [20.0]])
    # 0.5 lies in the neighbourhoods of 0 and 1; 3.0 in that of 4; 20 in none.
    assert density(REAL, synthetic, 1) == pytest.approx(3 / (1 * 3))
    assert coverage(REAL, synthetic, 1) == pytest.approx(3 / 4)


def test_one_point_repeated_is_dense_but_covers_little() -> None:
    synthetic = np.full((50, 1), 0.5)
    assert density(REAL, synthetic, 1) == pytest.approx(2)
    assert coverage(REAL, synthetic, 1) == pytest.approx(2 / 4)


def test_far_away_is_nothing() -> None:
    synthetic = np.full((5, 1), 1e3)
    assert density(REAL, synthetic, 2) == coverage(REAL, synthetic, 2) == 0


def test_one_source_has_density_one() -> None:
    rng = np.random.default_rng(0)
    assert density(rng.normal(size=(800, 4)), rng.normal(size=(800, 4)), 5) == pytest.approx(1, abs=0.08)


def test_coverage_of_one_source_is_its_expected_value() -> None:
    # Naeem et al. 2020: the expected coverage of identical distributions, n real and m synthetic images.
    rng, n, m, k = np.random.default_rng(1), 200, 200, 5
    expected = 1 - np.prod([(n - 1 - i) / (n + m - 1 - i) for i in range(k)])
    values = [coverage(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), k) for _ in range(20)]
    assert np.mean(values) == pytest.approx(expected, abs=0.01)
