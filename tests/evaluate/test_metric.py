import numpy as np
import pytest

from medsynth.evaluate.metrics.metric import bootstrap_interval


def test_bootstrap_interval_of_a_share_is_the_binomial_one() -> None:
    hits = np.arange(400) < 100
    low, high = bootstrap_interval(np.mean, [hits], 2000, np.random.default_rng(0))
    margin = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert (low, high) == pytest.approx((0.25 - margin, 0.25 + margin), abs=0.006)
