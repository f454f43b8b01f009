import logging

import numpy as np
import pytest
from scipy.stats import norm

from medsynth.evaluate.copy_limits import MOST, CopyLimits

TRAINING = 800


def strangers(count: int, seed: int = 0) -> np.ndarray:
    """Likeness of images to the nearest of TRAINING strangers, each of mean 0.1 and deviation 0.2 on Fisher's scale."""
    uniform = np.random.default_rng(seed).random(count)
    return np.tanh(0.1 + 0.2 * norm.isf(-np.expm1(np.log(uniform) / TRAINING)))


def limits(whole: np.ndarray, quantile: float = 0.99) -> CopyLimits:
    return CopyLimits.from_validation({"whole": whole, "parts": strangers(len(whole), 1)}, TRAINING, quantile)


def test_a_few_duplicates_in_validation_lift_no_limit_and_are_told_of(caplog):
    clean = strangers(181)
    spoilt = np.concatenate([clean[:-4], [0.999, 0.998, 0.999, 0.9995]])
    assert np.quantile(spoilt, 0.995) > 0.998  # the limit without a cap
    with caplog.at_level(logging.WARNING):
        found = limits(spoilt)
    assert found.above["whole"] < 0.87 and found.capped == {"whole": 0.9995}
    assert "limit of whole capped at 0." in found.note() and "0.9995" in caplog.text
    copies = {"whole": np.array([0.9, 0.3]), "parts": np.zeros(2)}
    assert found.exceeded(copies).tolist() == [True, False]


def test_without_duplicates_the_stated_share_of_strangers_counts_as_copies():
    shares, capped = [], 0
    for seed in range(40):
        found = CopyLimits.from_validation(
            {"whole": strangers(250, 2 * seed), "parts": strangers(250, 2 * seed + 1)}, TRAINING, 0.99
        )
        new = {"whole": strangers(4000, 1000 + seed), "parts": strangers(4000, 2000 + seed)}
        shares.append(found.exceeded(new).mean())
        capped += bool(found.capped)
    assert 0.003 < np.mean(shares) < 0.01
    assert capped <= 10


def test_a_quarter_of_the_validation_images_may_be_duplicates():
    spoilt = np.concatenate([strangers(150), np.full(50, 0.9999)])
    assert limits(spoilt).above["whole"] < 0.93


def test_no_limit_is_above_the_most_even_where_nothing_counts_as_a_copy():
    found = limits(np.full(50, 0.9999), quantile=1.0)
    assert found.above["whole"] == MOST
    assert found.reason({"whole": 0.99, "parts": 0.0}) == "likeness to a training image 0.990 > 0.980"
    assert found.reason({"whole": 0.97, "parts": 0.0}) == ""


def test_likeness_exactly_at_a_limit_is_no_copy():
    found = CopyLimits({"whole": 0.8, "parts": 0.9}, {})
    assert not found.exceeded({"whole": np.array([0.8]), "parts": np.array([0.9])}).any()
    assert found.note() == ""
    with pytest.raises(KeyError):
        found.exceeded({"whole": np.array([0.8])})
