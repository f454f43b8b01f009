"""Known answers: effects of shifted volumes, parts of drawn shapes."""

import numpy as np
import pytest

from medsynth.evaluate.metrics.anatomy import connectedness, parts_of, volume_effect


def test_the_effect_is_the_shift_of_the_mean_in_deviations_of_each_structure():
    rng = np.random.default_rng(0)
    real = rng.normal([10, 5], [2, 1], (4000, 2))
    moved = rng.normal([11, 5], [2, 1], (4000, 2))
    assert volume_effect(moved, real) == pytest.approx([0.5, 0], abs=0.06)
    assert volume_effect(real[:2000], real[2000:]).max() < 0.08


def test_volumes_that_never_vary_have_no_effect_if_equal_and_an_endless_one_if_not():
    same = np.ones((5, 2))
    assert volume_effect(same, same).tolist() == [0, 0]
    assert volume_effect(2 * same, same).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("dims", [2, 3])
def test_parts_are_counted_by_size_and_corners_hold_together(dims):
    image = np.zeros((8,) * dims, bool)
    assert len(parts_of(image)) == 0
    image[(slice(0, 4),) * dims] = True
    image[(4,) * dims] = True  # touches by its corner
    assert parts_of(image).tolist() == [1.0]
    image[(7,) * dims] = True
    whole = 4**dims + 2
    assert parts_of(image) == pytest.approx([(whole - 1) / whole, 1 / whole])


def test_connectedness_is_the_share_in_as_many_parts_as_usual():
    pair = np.zeros((6, 6), bool)
    pair[:2, :2] = pair[4:, 4:] = True
    crumbs = pair.copy()
    crumbs[0, 4] = crumbs[4, 0] = True
    parts = [parts_of(image) for image in (pair, crumbs, np.zeros((6, 6), bool))]
    found = connectedness(parts, 2)
    assert found[:2] == pytest.approx([1, 0.8]) and np.isnan(found[2])
    assert connectedness(parts[:1], 1) == pytest.approx([0.5])
