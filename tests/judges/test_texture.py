import numpy as np
import pytest

from medsynth.judges.texture import (
    VISIBLE,
    band_power,
    ends,
    finest_octave_db,
    kurtosis,
    spectrum_db,
    spectrum_distance_db,
    texture,
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.2, shape)


@pytest.mark.parametrize("shape", [(256, 256), (192, 320), (48, 48, 48)])
def test_white_noise_has_its_variance_in_every_band(shape):
    power = band_power(noise(4, 2, *shape)).mean((0, 1))
    assert len(power) >= 6
    assert power == pytest.approx(0.2**2, rel=0.05)


def test_a_wave_is_in_the_band_of_its_frequency_alone():
    # Bands end at 0.5 / sqrt(2)^k cycles a pixel: 0.125 ends the second, 0.25 the fourth.
    waves = [np.broadcast_to(np.cos(2 * np.pi * f * np.arange(128)), (1, 128, 128)) for f in (0.1, 0.15, 0.3, 0.4)]
    power = band_power(np.stack(waves))[:, 0]
    assert power.argmax(1).tolist() == [1, 2, 4, 5]
    assert (power.max(1) / power.sum(1) > 0.99).all()


def test_power_is_blind_to_the_mean_and_twice_the_contrast_is_four_times_the_power():
    images = noise(2, 1, 64, 64)
    assert band_power(images + 0.3) == pytest.approx(band_power(images))
    assert band_power(2 * images) == pytest.approx(4 * band_power(images))


@pytest.mark.parametrize(("draw", "excess"), [("normal", 0.0), ("laplace", 3.0), ("uniform", -1.2)])
def test_kurtosis_of_differences_of_independent_pixels(draw, excess):
    # The excess of a sum of n alike, independent terms is the nth of one's: a difference has half of a pixel's, that of
    # means of 4 an eighth.
    images = getattr(np.random.default_rng(0), draw)(size=(1, 1, 1024, 1024))
    found = kurtosis(images / images.std())[0, 0]
    assert found[0] == pytest.approx(3 + excess / 2, abs=0.06)
    assert found[1] == pytest.approx(3 + excess / 8, abs=0.06)


def test_a_flat_image_has_the_power_and_the_kurtosis_of_rounding_to_8_bits():
    found = texture(np.full((1, 1, 64, 64), 0.25, np.float32))[0]
    assert found == pytest.approx([*[np.log(VISIBLE)] * 6, *[np.log(3)] * 3])


def test_every_channel_has_its_own_and_small_images_have_fewer():
    images = noise(3, 2, 32, 32)
    assert np.allclose(texture(images[:, 1:]), texture(images).reshape(3, -1)[:, [*range(6, 12), *range(15, 18)]])
    assert texture(noise(2, 1, 6, 6)).shape[1] < 9


def test_ends_are_what_eight_bits_show_as_black_and_white():
    images = np.full((2, 1, 10, 10), 30000, np.uint16)
    images[0, 0, 0, :3] = [0, 127, 128]  # 128 / 257 rounds to 0 as well, but half is no longer
    images[1, 0, 0, :4] = [65535, 65407, 65406, 65000]
    assert ends(images).tolist() == [[0.02, 0.0], [0.0, 0.02]]


def test_twice_the_contrast_is_six_decibels_in_every_band():
    once, twice = (spectrum_db(scale * noise(3, 2, 64, 64)) for scale in (1, 2))
    assert once.shape == (3, 2, 6)
    assert twice - once == pytest.approx(np.full(once.shape, 20 * np.log10(2)), abs=0.01)
    assert spectrum_distance_db(once, twice) == pytest.approx(finest_octave_db(once, twice), abs=0.01)
    assert spectrum_distance_db(twice, once) > 6 and finest_octave_db(twice, once) < -6


def test_blur_and_noise_are_below_and_above_in_the_finest_octave():
    images = noise(4, 1, 64, 64)
    blurred = (images + np.roll(images, 1, -1) + np.roll(images, 1, -2) + np.roll(images, (1, 1), (-1, -2))) / 4
    sharp, soft, rough = map(spectrum_db, (images, blurred, images + np.random.default_rng(1).normal(0, 0.2, (64, 64))))
    assert finest_octave_db(sharp, soft) < -6
    assert finest_octave_db(sharp, rough) == pytest.approx(10 * np.log10(2), abs=0.3)  # twice the variance
