import numpy as np
import pytest

from medsynth.tune.score import (
    Measured,
    Scale,
    burnt_share,
    energy,
    linear,
    pair_terms,
    resampled,
    score,
    weighted_mmd,
)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_the_linear_distance_of_a_constant_shift_is_its_mean_square():
    real = random(12, 3)
    found = weighted_mmd(pair_terms(linear, real, real + np.array([1, 2, 3])), np.arange(12), np.ones((1, 12)))
    assert found == pytest.approx(14 / 3)


def test_the_distance_is_the_mean_over_pairs_of_different_subjects_as_often_as_they_are_drawn():
    real, synthetic = random(6, 4), random(6, 4, seed=1)
    subjects = np.array([0, 0, 1, 2, 2, 3])
    counts = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])

    def kernel(a, b):
        return -np.linalg.norm(a - b) / 2

    expected = []
    for draw in counts:
        total = weight = 0.0
        for i in range(6):
            for j in range(6):
                if subjects[i] != subjects[j]:
                    w = draw[subjects[i]] * draw[subjects[j]]
                    total += w * (kernel(real[i], real[j]) + kernel(synthetic[i], synthetic[j]))
                    total -= w * (kernel(real[i], synthetic[j]) + kernel(real[j], synthetic[i]))
                    weight += w
        expected.append(total / weight)
    assert weighted_mmd(pair_terms(energy, real, synthetic), subjects, counts) == pytest.approx(expected)


def test_images_of_the_same_distribution_are_at_no_distance_on_average():
    found = [
        weighted_mmd(
            pair_terms(energy, random(40, 5, seed=s), random(40, 5, seed=s + 500)), np.arange(40), np.ones((1, 40))
        )
        for s in range(200)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5


def test_few_images_far_out_do_not_hide_that_the_others_are_better():
    real, subjects = random(60, 5), np.arange(60)
    counts = resampled(subjects, 100, np.random.default_rng(0))
    far = np.zeros((60, 5))
    far[:3] = 30

    def of(shift: float) -> Measured:
        synthetic = random(60, 5, seed=1) + shift + far
        return Measured(weighted_mmd(pair_terms(energy, real, synthetic), subjects, counts)[None], 0.0)

    gain, error = score(of(0.2), of(1.0))
    assert gain < -2 * error


def test_each_draw_has_as_many_subjects_and_more_than_one():
    counts = resampled(np.array([0, 0, 1, 2]), 50, np.random.default_rng(0))
    assert counts.shape == (51, 3) and counts[0].tolist() == [1, 1, 1]
    assert (counts.sum(1) == 3).all() and ((counts > 0).sum(1) > 1).all()


def test_a_feature_that_hardly_varies_is_not_blown_up():
    features = np.stack([random(100), 1e-6 * random(100), random(100)], 1)
    assert np.abs(Scale.of(features)(features)[:, 1]).max() < 1e-4
    assert Scale.of(features)(features)[:, 0].std() == pytest.approx(1)


def measured(values, burnt=0.0, spread=0.0) -> Measured:
    """Values that vary by `spread` over the draws, for every setting alike."""
    common = 1 + spread * random(200)
    return Measured(np.stack([np.concatenate([[value], value * common]) for value in values]), burnt)


def test_halving_one_measure_counts_as_much_as_halving_another_one():
    before = measured([8.0, 0.02, 3.0])
    for place in range(3):
        halved = [8.0, 0.02, 3.0]
        halved[place] /= 2
        assert score(measured(halved), before) == pytest.approx((-np.log(2) / 3, 0), abs=1e-9)


def test_what_settings_have_in_common_is_no_error():
    gain, error = score(measured([4.0], spread=0.1), measured([8.0], spread=0.1))
    assert gain == pytest.approx(-np.log(2)) and error < 1e-9


def test_below_its_own_error_a_measure_counts_as_that_error():
    before = Measured(np.array([[0.05, *(0.05 + 0.1 * random(500))]]), 0.0)
    none = Measured(np.full((1, 501), -1.0), 0.0)
    assert score(none, before)[0] == 0
    worse = Measured(np.full((1, 501), 1.0), 0.0)
    assert score(worse, before)[0] == pytest.approx(np.log(10), abs=0.1)


def test_what_is_too_little_to_be_seen_makes_no_difference():
    def of(texture: float) -> Measured:
        found = measured([8.0, texture])
        return Measured(found.values, 0.0, np.array([0.0, 0.1]))

    assert score(of(0.08), of(0.006)) == pytest.approx((0, 0), abs=1e-9)
    assert score(of(0.2), of(0.006))[0] == pytest.approx(np.log(2) / 2)


def test_an_image_is_burnt_out_where_more_is_white_than_in_nearly_all_real_ones():
    real = np.stack([np.zeros(100), np.linspace(0, 0.0099, 100)], 1)
    synthetic = np.zeros((10, 2))
    assert burnt_share(synthetic, real) == 0
    synthetic[:3, 1] = 0.02
    assert burnt_share(synthetic, real) == 0.3
    synthetic[:5, 0] = 0.0005  # below a thousandth of the pixels nothing is said
    assert burnt_share(synthetic, real) == 0.3
    synthetic[:5, 0] = 0.002
    assert burnt_share(synthetic, real) == 0.5
