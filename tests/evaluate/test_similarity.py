"""Known answers of PSNR and SSIM: another program's, and those that follow from the definition."""

import numpy as np
import pytest
from skimage import metrics

from medsynth.evaluate.similarity import ms_ssim, psnr, scales_that_fit, ssim


def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, shape)
    return real, np.clip(real + 0.3 * rng.standard_normal(shape), -1, 1)


def of_scikit_image(real: np.ndarray, made: np.ndarray, **options: float) -> float:
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return metrics.structural_similarity(real, made, data_range=2, channel_axis=0, **window, **options)


@pytest.mark.parametrize("shape", [(1, 24, 30), (3, 24, 30), (1, 14, 16, 18)])
def test_both_are_those_of_scikit_image(shape):
    real, made = pair(*shape)
    assert psnr(real, made) == pytest.approx(metrics.peak_signal_noise_ratio(real, made, data_range=2))
    assert ssim(real, made) == pytest.approx(of_scikit_image(real, made), abs=1e-9)


def test_an_image_is_like_itself():
    real, _ = pair(1, 32, 32)
    assert ssim(real, real) == ms_ssim(real, real) == pytest.approx(1)
    assert psnr(real, real) == pytest.approx(107, abs=0.5)  # of rounding to 16 bits


def test_an_error_of_a_tenth_of_the_range_is_20_decibels():
    real = np.zeros((1, 16, 16))
    assert psnr(real, real + 0.2) == pytest.approx(20)


def test_voxels_that_count_alone_count():
    real, made = pair(1, 16, 16)
    where = np.zeros((16, 16), bool)
    where[4:8] = True
    made[:, ~where] = 1
    assert psnr(real, made, where) == pytest.approx(psnr(real[:, 4:8], made[:, 4:8]))
    same = np.where(where, real, made)
    assert ssim(real, same, where) < 1  # its window reaches beyond
    assert np.isnan(psnr(real, made, where & False)) and np.isnan(ssim(real, made, where & False))


def test_scales_are_as_many_as_hold_the_window():
    assert [scales_that_fit((side, 200)) for side in (10, 11, 22, 44, 175, 176, 999)] == [0, 1, 2, 3, 4, 5, 5]


def test_at_one_scale_multi_scale_is_the_mean_and_at_two_the_weighted_product():
    real, made = pair(1, 20, 20)
    assert ms_ssim(real, made) == pytest.approx(ssim(real, made))
    real, made = pair(1, 32, 32)
    halves = [image.reshape(1, 16, 2, 16, 2).mean((2, 4)) for image in (real, made)]
    fine = of_scikit_image(real, made, K1=1e6)  # the luminance is then 1, and what is left is contrast and structure
    weight = 0.0448 / (0.0448 + 0.2856)
    assert ms_ssim(real, made) == pytest.approx(fine**weight * of_scikit_image(*halves) ** (1 - weight))
