from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsynth.evaluate.metrics.metric import Evidence
from medsynth.evaluate.metrics.pairwise import PAIRS, PAIRWISE_MS_SSIM, pairs, resampled


def test_pairs_are_of_two_subjects_and_of_the_positions_that_are_given() -> None:
    positions, subjects = np.arange(100, 140), np.repeat(np.arange(20), 2).astype(str)
    found = pairs(positions, subjects, np.random.default_rng(0))
    assert len(found) == PAIRS and len({tuple(sorted(pair)) for pair in found.tolist()}) == PAIRS
    assert set(found.ravel()) <= set(positions)
    assert (subjects[found[:, 0] - 100] != subjects[found[:, 1] - 100]).all()
    assert len(pairs(positions[:4], subjects[:4], np.random.default_rng(0))) == 4  # of six, two are of one subject


def test_the_mean_of_pairs_varies_as_images_do_not_as_pairs_do() -> None:
    # Each pair's value is the sum of one number an image: the mean over all pairs varies by twice the mean image's.
    rng = np.random.default_rng(0)
    of_image = rng.normal(0, 1, 60)
    chosen = np.stack(np.triu_indices(60, 1), 1)
    draws = resampled(of_image[chosen].sum(1), chosen, 2000, rng)
    assert draws.mean() == pytest.approx(2 * of_image.mean(), abs=0.03)
    assert draws.std() == pytest.approx(2 * of_image.std() / np.sqrt(60), rel=0.1)


def evidence(synthetic: np.ndarray, real: np.ndarray) -> SimpleNamespace:
    """Images (n, 1, 32, 32) of the class `a`; there is none of `b`."""

    def side(images: np.ndarray) -> SimpleNamespace:
        rows = pd.DataFrame({"look": "a", "subject_id": [f"s{row}" for row in range(len(images))]})
        return SimpleNamespace(table=rows, images=(images.clip(0, 1) * 65535).astype(np.uint16))

    settings = SimpleNamespace(evaluation=SimpleNamespace(bootstrap=20), seed=0)
    made = SimpleNamespace(
        label="look", strata={"look": ("a", "b")}, shape=(32, 32), settings=settings,
        test=side(real), synthetic=side(synthetic),
    )  # fmt: skip
    made.rng, made.groups = lambda: Evidence.rng(made), lambda: Evidence.groups(made)
    return made


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 1, 32, 32))


def test_copies_of_one_image_are_all_alike_and_independent_ones_as_alike_as_real_ones() -> None:
    same, none = PAIRWISE_MS_SSIM.rows(evidence(noise(1, 1).repeat(30, 0), noise(25, 0)))
    assert same.value == pytest.approx(1) and (same.n_real, same.n_synthetic) == (25, 30)
    assert same.group == "look=a" and same.higher_is_better is None
    fresh = next(iter(PAIRWISE_MS_SSIM.rows(evidence(noise(30, 1), noise(25, 0)))))
    assert fresh.floor == same.floor < 0.2
    assert fresh.value == pytest.approx(fresh.floor, abs=0.02) and fresh.ci_low < fresh.value < fresh.ci_high
    assert same.ci_low > same.floor + 0.5
    assert none.note == "0 test subjects and 0 synthetic images, needs 20 of each" and np.isnan(none.value)


def test_images_smaller_than_the_window_are_said_to_be() -> None:
    small = evidence(noise(30, 1)[..., :8, :8], noise(25, 0)[..., :8, :8])
    small.shape = (8, 8)
    row = next(iter(PAIRWISE_MS_SSIM.rows(small)))
    assert np.isnan(row.value) and row.note == "images of (8, 8) pixels, needs sides of 11"
