import numpy as np
import pytest
from skimage.metrics import structural_similarity

from medsynth.evaluate.similarity import SCALE_WEIGHTS, ms_ssim, scales_that_fit


def images(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    one = rng.uniform(-1, 1, shape)
    return one, np.clip(one + rng.normal(0, 0.3, shape), -1, 1)


@pytest.mark.parametrize("shape", [(1, 20, 18), (3, 21, 16), (1, 16, 17, 18)])
def test_one_scale_is_ssim_as_scikit_image_has_it(shape: tuple[int, ...]) -> None:
    one, other = images(*shape)
    assert scales_that_fit(shape[1:]) == 1
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0}
    expected = structural_similarity(one, other, channel_axis=0, **options)
    assert ms_ssim(one, other) == pytest.approx(expected, abs=1e-9)


def test_the_window_fits_at_as_many_scales_as_its_eleven_pixels_do() -> None:
    sides = {(10, 64): 0, (11, 11): 1, (22, 30): 2, (64, 64): 3, (176, 200): 5, (1024, 1024): 5}
    assert {side: scales_that_fit(side) for side in sides} == sides


def test_an_image_is_like_itself_and_noise_like_nothing() -> None:
    one, other = images(2, 64, 48)
    assert ms_ssim(one, one) == pytest.approx(1)
    assert 0 <= ms_ssim(one, other[:, ::-1, ::-1]) < 0.1 < ms_ssim(one, other) < 1


def test_a_change_of_brightness_counts_at_the_coarsest_scale_alone() -> None:
    flat, brighter = np.full((1, 44, 44), 0.5), np.full((1, 44, 44), 0.6)
    c1 = (0.01 * 2) ** 2
    luminance = (2 * 0.5 * 0.6 + c1) / (0.5**2 + 0.6**2 + c1)
    assert ms_ssim(flat, brighter) == pytest.approx(luminance ** (SCALE_WEIGHTS[2] / sum(SCALE_WEIGHTS[:3])))
