"""Pairs that can be counted, another program's ranks, and what chance alone gives."""

import numpy as np
import pytest
from scipy import stats

from medsynth.conditions.statistics import auroc
from medsynth.membership.attack import in_halves, p_values, tpr_at_fpr, whole, with_interval


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    members, others = np.array([3.0, 1.0]), np.array([0.0, 1.0, 2.0])
    # 3 is above all three; 1 is above one of them and ties with another: (3 + 1.5) of 6 pairs.
    assert auroc(members, others) == pytest.approx(4.5 / 6)
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.5, 1, 40).round(1), rng.normal(0, 1, 70).round(1)
    expected = stats.mannwhitneyu(members, others).statistic / (40 * 70)
    assert auroc(members, others) == pytest.approx(expected)


def test_one_of_a_hundred_others_may_be_above_the_threshold():
    others = np.arange(100.0)
    assert tpr_at_fpr(np.array([98.0, 98.5, 99.0, 200.0]), others) == pytest.approx(3 / 4)  # the threshold is 98
    assert tpr_at_fpr(np.array([98.5, 99.0, 200.0]), others[:50]) == 1
    assert tpr_at_fpr(np.array([49.0, 49.5]), others[:50]) == pytest.approx(1 / 2)  # of 50, none may be above


def scores(count: int, names: int, rng: np.random.Generator, shift: float = 0.0) -> dict[str, np.ndarray]:
    return {f"s{name}": rng.normal(shift if name == 0 else 0, 1, count) for name in range(names)}


def test_the_best_of_many_useless_scores_is_worth_nothing_on_the_other_half():
    best, found = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        members, others = scores(40, 12, rng), scores(40, 12, rng)
        best.append(max(auroc(members[name], others[name]) for name in members))
        folds = in_halves(members, others, rng)
        assert [len(fold.members) + len(fold.others) for fold in folds] == [40, 40]
        found.append(with_interval(folds, auroc, 20, seed)[0])
    assert np.mean(best) > 0.58  # what looking at all of them would claim
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_the_score_that_tells_is_chosen_and_its_interval_holds_what_two_normal_distributions_give():
    rng = np.random.default_rng(1)
    members, others = scores(400, 5, rng, shift=1.0), scores(400, 5, rng)
    expected = stats.norm.cdf(1 / np.sqrt(2))
    for folds in (in_halves(members, others, rng), whole(members["s0"], others["s0"])):
        value, (low, high) = with_interval(folds, auroc, 200, 0)
        assert low < expected < high and value == pytest.approx(expected, abs=0.04)
        # DeLong 1988: a standard error of about sqrt(2 * 0.06 / 400).
        assert 0.05 < high - low < 0.09


def test_too_few_subjects_for_two_halves_are_not_halved():
    rng = np.random.default_rng(0)
    assert in_halves(scores(3, 2, rng), scores(9, 2, rng), rng) == []
    assert np.isnan(with_interval([], auroc, 20, 0)[0])


def test_the_p_value_is_the_share_of_ways_to_choose_members():
    members, others = {"a": np.array([4.0, 5.0, 6.0])}, {"a": np.array([1.0, 2.0, 3.0])}
    found = p_values(members, others, 20_000, np.random.default_rng(0))
    assert found["a"] == pytest.approx(1 / 20, abs=0.005) and found[""] == found["a"]
    turned = p_values(others, members, 99, np.random.default_rng(0))
    assert turned["a"] == 1  # one-sided


def test_p_values_of_all_scores_together_are_even_where_nothing_is_there():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found.append(p_values(scores(15, 8, rng), scores(20, 8, rng), 199, rng))
    of_all = [p[""] for p in found]
    assert stats.kstest(of_all, "uniform").pvalue > 0.01
    assert np.mean([min(value for name, value in p.items() if name) <= 0.05 for p in found]) > 0.15  # one by one
