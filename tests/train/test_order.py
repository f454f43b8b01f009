from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsynth.train import order
from medsynth.train.order import TrainingOrder, shares

COUNTS = {"common": 80, "seldom": 16, "rare": 4}
LABELS = [label for label, count in COUNTS.items() for _ in range(count)]


def drawn(balance: float, epochs: int) -> list[int]:
    return TrainingOrder(0, LABELS, balance).rows(0, epochs * len(LABELS))


def test_every_epoch_has_every_row_once_whatever_the_step():
    of = TrainingOrder(0, ["a"] * 4 + ["b"] * 6)
    whole = of.rows(0, 30)
    assert [sorted(whole[start : start + 10]) for start in (0, 10, 20)] == [list(range(10))] * 3
    assert [row for first in range(0, 30, 6) for row in of.rows(first, 6)] == whole
    assert whole[:10] != whole[10:20] and TrainingOrder(1, ["a"] * 10).rows(0, 10) != whole[:10]


def test_an_epoch_is_drawn_once_for_all_its_batches(monkeypatch):
    epochs = []
    draw = TrainingOrder._draw
    monkeypatch.setattr(TrainingOrder, "_draw", lambda self, epoch: epochs.append(epoch) or draw(self, epoch))
    of = TrainingOrder(5, ["a", "b"] * 500)
    rows = [row for first in range(0, 3000, 7) for row in of.rows(first, 7)]
    assert epochs == [0, 1, 2, 3] and of._epoch.cache_info().currsize <= order.KEPT
    assert sorted(rows[:1000]) == list(range(1000))


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(1.0, {"common": 80, "seldom": 16, "rare": 4}), (0.5, {"common": 60, "seldom": 27, "rare": 13}), (0.0, None)],
)
def test_a_class_comes_in_proportion_to_a_power_of_its_images(balance, expected):
    found = Counter(LABELS[row] for row in drawn(balance, 1))
    if expected is None:
        assert max(found.values()) - min(found.values()) <= 1
    else:
        assert found == expected
    assert sum(found.values()) == len(LABELS)


@pytest.mark.parametrize("balance", [1.0, 0.5, 0.0])
def test_within_a_class_no_image_comes_again_before_every_other_has_come(balance):
    rows = np.array(drawn(balance, 12))
    labels = np.array(LABELS)
    for label in COUNTS:
        times = np.bincount(rows, minlength=len(LABELS))[labels == label]
        assert times.max() - times.min() <= 1


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.floats(0, 1))
def test_shares_are_whole_add_up_and_stay_within_one_of_the_exact_ones(counts, balance):
    counts = np.array(counts)
    found = shares(counts, balance)
    exact = counts**balance / (counts**balance).sum() * counts.sum()
    assert found.sum() == counts.sum() and np.abs(found - exact).max() <= 1


def test_positions_far_ahead_are_those_of_an_unbroken_run():
    whole = drawn(0.5, 20)
    assert TrainingOrder(0, LABELS, 0.5).rows(1234, 333) == whole[1234 : 1234 + 333]
