"""Which images each way of training draws from, and how many."""

import numpy as np
import pytest

from medsynth.utility.arms import BASELINES, DUPLICATES, PRETRAINED, REAL, SYNTHETIC, UNFILTERED, Pools, arms
from medsynth.utility.classifier import batches


def pools(kept: int = 40) -> Pools:
    """20 real images, 15 and 5 of two classes; 50 samples, half of each class, of which some are kept."""
    labels = np.concatenate([[0] * 15, [1] * 5, np.arange(50) % 2])
    return Pools(labels, np.arange(20), 20 + np.arange(kept), 20 + np.arange(50))


def by_name(kept: int = 40, doses=(0.5, 1.0, 2.0)):
    return {arm.name: arm for arm in arms(pools(kept), doses, np.random.default_rng(0))}


def test_doses_are_multiples_of_the_real_images_and_draw_no_sample_twice():
    found = by_name()
    for dose, count in ((0.5, 10), (1, 20), (2, 40)):
        arm = found[f"real + {dose:g} x synthetic"]
        ((pool, share),) = arm.phases
        assert share == 1 and len(pool) == 20 + count == arm.real + arm.synthetic and arm.dose == dose
        assert len(set(pool)) == len(pool) and set(range(20)) < set(pool) and max(pool) < 60 and not arm.note


def test_too_few_samples_are_all_taken_and_it_is_said():
    found = by_name(kept=12)
    arm = found["real + 1 x synthetic"]
    assert (arm.synthetic, arm.note) == (12, "12 kept samples, 20 wanted")
    assert "real + 2 x synthetic" not in found  # it would be the same images


def test_duplicates_are_of_real_images_by_the_classes_of_the_samples():
    found = by_name()
    ((pool, _),) = found[DUPLICATES].phases
    assert len(pool) == 40 and max(pool) < 20
    samples = found["real + 1 x synthetic"].phases[0][0][20:]
    labels = pools().labels
    assert np.bincount(labels[pool[20:]]).tolist() == np.bincount(labels[samples]).tolist()


def test_the_unfiltered_arm_draws_from_all_samples_and_the_pretrained_one_from_each_in_turn():
    found = by_name(kept=5)
    assert found[UNFILTERED].synthetic == found["real + 0.5 x synthetic"].synthetic == 5
    ((pool, _),) = found[UNFILTERED].phases
    assert max(pool) > 25  # beyond the kept ones
    (first, half), (second, rest) = found[PRETRAINED].phases
    assert half + rest == 1 and min(first) >= 20 and max(second) < 20


def test_without_a_kept_sample_only_real_images_are_trained_on():
    assert tuple(by_name(kept=0)) == BASELINES


def test_every_arm_has_the_same_number_of_steps_and_goes_through_its_pool():
    rng = np.random.default_rng(0)
    for arm in by_name().values():
        found = batches(arm.phases, steps=30, size=8, rng=rng)
        assert len(found) == 30 and all(len(rows) == 8 for rows in found)
        assert set(np.concatenate(found)) == set(np.concatenate([pool for pool, _ in arm.phases]))
    in_turn = batches(((np.array([1]), 0.5), (np.array([2]), 0.5)), steps=4, size=2, rng=rng)
    assert np.array(in_turn).tolist() == [[1, 1], [1, 1], [2, 2], [2, 2]]


@pytest.mark.parametrize("name", [REAL, SYNTHETIC])
def test_one_kind_of_image_alone(name):
    ((pool, _),) = by_name()[name].phases
    assert (pool < 20).all() == (name == REAL)
