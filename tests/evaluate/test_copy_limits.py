import logging

import numpy as np
import pytest
from scipy.stats import norm

from medsynth.evaluate.copy_limits import FALSE_ALARMS, MOST, CopyLimits

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
    assert found.above["whole"] < 0.87
    [note] = found.notes
    assert "limit of whole capped at 0." in note and "are 0.9995 like" in note and note in caplog.text
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
        capped += bool(found.notes)
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
    found = CopyLimits({"whole": 0.8, "parts": 0.9})
    assert not found.exceeded({"whole": np.array([0.8]), "parts": np.array([0.9])}).any()
    assert found.note() == ""
    with pytest.raises(KeyError):
        found.exceeded({"whole": np.array([0.8])})


def planted(whole: np.ndarray) -> dict[str, np.ndarray]:
    """Copies of one kind, whose parts tell nothing."""
    return {"turned 5°": np.stack([whole, np.zeros(len(whole))])}


def test_a_limit_is_lowered_to_find_copies_where_few_real_images_are_as_alike(caplog):
    """As of slices of bodies, where a few real images are as like a training image as half of the turned copies."""
    real = {"whole": np.tanh(0.87 + 0.38 * norm.ppf((np.arange(100) + 0.5) / 100)), "parts": np.full(100, 0.3)}
    copies = np.random.default_rng(0).uniform(0.93, 0.97, (2, 60))
    before = CopyLimits.from_validation(real, TRAINING, 0.99)
    with caplog.at_level(logging.WARNING):
        found = CopyLimits.from_validation(real, TRAINING, 0.99, planted(copies[0]))
    unseen = {"whole": copies[1], "parts": np.zeros(60)}
    assert before.exceeded(unseen).mean() < 0.6 and found.exceeded(unseen).mean() >= 0.95
    assert found.exceeded({"whole": copies[0], "parts": np.zeros(60)}).all()
    assert found.exceeded(real).mean() <= FALSE_ALARMS
    assert "limit of whole lowered from" in found.note() and "to find copies, turned 5°; 2.0% of" in caplog.text
    assert found.above["parts"] == before.above["parts"]


def test_a_limit_stays_where_too_many_real_images_would_count_as_copies():
    real = {"whole": np.linspace(0.5, 0.99, 100), "parts": np.full(100, 0.3)}
    copies = planted(np.linspace(0.8, 0.99, 60))
    before = CopyLimits.from_validation(real, TRAINING, 0.99)
    found = CopyLimits.from_validation(real, TRAINING, 0.99, copies)
    assert found.above == before.above
    assert found.notes[-1].startswith("of planted copies, turned 5°, ") and "95% are wanted" in found.notes[-1]


def test_copies_that_are_found_anyway_lower_no_limit():
    real = {"whole": strangers(200), "parts": strangers(200, 1)}
    copies = {"turned 5°": np.stack([np.linspace(0.9, 1, 60), np.zeros(60)]), "exact": np.ones((2, 60))}
    assert CopyLimits.from_validation(real, TRAINING, 0.99, copies) == CopyLimits.from_validation(real, TRAINING, 0.99)


def test_at_a_quantile_of_one_no_limit_is_lowered():
    real = {"whole": np.full(50, 0.99), "parts": np.full(50, 0.3)}
    found = CopyLimits.from_validation(real, TRAINING, 1.0, planted(np.full(60, 0.9)))
    assert found.above["whole"] == MOST
