from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from medsynth.conditions.kind import Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, EvaluateSettings, Evaluation
from medsynth.evaluate.metrics import adherence
from medsynth.evaluate.metrics.metric import Group, bootstrap_interval, share_interval


def test_bootstrap_interval_of_a_share_is_the_binomial_one() -> None:
    hits = np.arange(400) < 100
    low, high = bootstrap_interval(np.mean, [hits], 2000, np.random.default_rng(0))
    margin = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert (low, high) == pytest.approx((0.25 - margin, 0.25 + margin), abs=0.006)


@pytest.mark.parametrize(("hits", "count"), [(0, 256), (256, 256), (3, 10), (0, 1)])
def test_interval_of_a_share_is_exact(hits: int, count: int) -> None:
    exact = binomtest(hits, count).proportion_ci(method="exact")
    assert share_interval(np.arange(count) < hits) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_weights_leave_as_many_images_as_they_are_worth() -> None:
    hits = np.array([True, False] * 10)
    twice = share_interval(np.repeat(hits, 2), np.tile([1.0, 0.0], 20))
    assert twice == pytest.approx(share_interval(hits))
    weights = np.array([3.0, 1.0] * 10)  # the share is 0.75, of 40^2 / 100 = 16 images: 12 of them
    exact = binomtest(12, 16).proportion_ci(method="exact")
    assert share_interval(hits, weights) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_floor_of_an_accuracy_is_of_the_classes_that_were_asked_for() -> None:
    """Real images of class 0, which is read best, say nothing of samples of the others."""
    accuracy = SimpleNamespace(name="accuracy", higher_is_better=True, hits=np.equal)
    kind = SimpleNamespace(name="pathology", has_classes=True)
    evidence = SimpleNamespace(inadequate={}, checks=SimpleNamespace(off={}), label="pathology")
    real = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 2, 2, 1])
    for asked in (np.array([1, 1, 2, 2]), np.array([1, 2, 2, 2])):
        row = adherence._row(kind, accuracy, "pathology", "pathology", (asked, asked), real, evidence)
        assert (row.value, row.floor, row.n_real) == (1, 0.5, 4)
        assert "no synthetic image of 0" in row.note
    whole = adherence._row(kind, accuracy, "pathology", "pathology", real, real, evidence)
    assert (whole.floor, whole.note) == (0.75, "")


@pytest.mark.parametrize(
    ("asked", "read", "value", "expected"),
    [
        # real: 2 of 4 a are read as a; of 4 others, 3 are not
        ("aabbcc", "aabbcc", (1.0, 1.0), (0.5, 0.75)),
        ("aabbbc", "abbbac", (0.5, 5 / 6), (0.5, 0.75)),  # b: 2 of 3, c: 1 of 1, each half of the others
        ("aaa", "aab", (2 / 3, None), (0.5, 0.75)),
    ],
)
def test_sensitivity_and_specificity_by_hand(asked: str, read: str, value: tuple, expected: tuple) -> None:
    """The other classes count as in the test images, half and half."""
    sides = {"test": ("aaaabbcc", "aabcbbca"), "synthetic": (asked, read)}
    schema = ConditionSchema({"look": Categorical(kind="categorical", values=("a", "b", "c"))}, 2)
    evidence = SimpleNamespace(
        schema=schema, inadequate={}, shape=(8, 8), groups=lambda: [Group("look=a", "look", "a")],
        settings=EvaluateSettings(seed=0, evaluation=Evaluation()),
        **{name: SimpleNamespace(table=pd.DataFrame({"look": list(of)}), masks=None,
                                 reading=Reading(pd.DataFrame({"look": list(as_)}), {}))
           for name, (of, as_) in sides.items()},
    )  # fmt: skip
    rows = list(adherence._one_against_rest(schema.kinds["look"], evidence))
    assert [(row.metric, row.group) for row in rows] == [("sensitivity", "look=a"), ("specificity", "look=a")]
    assert tuple(row.floor for row in rows) == expected
    for row, of in zip(rows, value, strict=True):
        assert np.isnan(row.value) if of is None else row.value == pytest.approx(of)
