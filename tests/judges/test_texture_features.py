"""Features of texture: known answers on images that are made by hand, and real against blurred and noised images."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsynth import registry
from medsynth.evaluate import fidelity
from medsynth.judges.texture_features import DISTANCES, HAAR_LEVELS, NOISE, PATTERNS, PROPERTIES, texture_features

OF_PLANE = len(PROPERTIES) * len(DISTANCES) + sum(neighbours + 2 for neighbours, _ in PATTERNS) + 3 * HAAR_LEVELS


def stored(images: np.ndarray) -> np.ndarray:
    return (images.clip(0, 1) * 65535).astype(np.uint16)


def test_a_flat_image_has_no_contrast_and_no_detail() -> None:
    [found] = texture_features(np.full((1, 1, 32, 32), 30000, np.uint16))
    assert found.shape == (OF_PLANE,) and np.isfinite(found).all()
    contrast, dissimilarity, homogeneity, energy, _ = found[: 5 * len(DISTANCES)].reshape(5, -1)
    assert contrast == pytest.approx(np.log(NOISE)) and dissimilarity == pytest.approx(0)
    assert homogeneity == pytest.approx(1) and energy == pytest.approx(1)
    assert found[-3 * HAAR_LEVELS :] == pytest.approx(np.log(NOISE))


def test_stripes_of_two_grey_levels_by_hand() -> None:
    """Columns of 0 and 255 in turn: neighbours across differ by 31 of 32 levels, down by none, diagonal by 31.

    Across, 2 and 4 pixels are the same column again; diagonal, they are rounded to 1 and 3 pixels each way.
    """
    image = np.tile(np.array([0, 65535], np.uint16), (1, 1, 32, 16))
    [found] = texture_features(image)
    contrast = found[: len(DISTANCES)]
    assert contrast[0] == pytest.approx(np.log(3 / 4 * 31**2 + NOISE))
    assert contrast[1:] == pytest.approx(np.log(2 / 4 * 31**2 + NOISE))
    across, down, diagonal = found[-3 * HAAR_LEVELS :][:3]
    assert across == pytest.approx(np.log(255**2 + NOISE))
    assert (down, diagonal) == pytest.approx((np.log(NOISE),) * 2)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 3, 20, 24), (2, 1, 16, 16), (2, 1, 4, 4)])
def test_every_channel_and_every_shape_has_its_features(shape: tuple[int, ...]) -> None:
    found = texture_features(stored(np.random.default_rng(0).uniform(size=shape)))
    assert np.isfinite(found).all() and len(found) == 2
    assert found.shape[1] == OF_PLANE * shape[1] - 3 * sum(min(shape[2:]) < 2**level for level in (2, 3)) * shape[1]


def test_real_images_that_are_blurred_or_noised_are_farther_than_fresh_ones() -> None:
    phantom = registry.PHANTOMS["leaves"].load()
    voxels = np.stack([phantom.draw(seed, (32, 32), {"look": "opaque"}).voxels for seed in range(120)])
    real, other = voxels[:60], voxels[60:]
    noise = np.random.default_rng(0).normal(0, 0.05, other.shape)
    sets = {"fresh": other, "blurred": gaussian_filter(other, (0, 0, 0.8, 0.8)), "noised": other + noise}
    of_real = texture_features(stored(real))
    mean, deviation = of_real.mean(0), of_real.std(0)
    scaled = {name: (texture_features(stored(images)) - mean) / deviation for name, images in sets.items()}
    for distance in (fidelity.kid, fidelity.fid):
        found = {name: distance((of_real - mean) / deviation, of) for name, of in scaled.items()}
        assert min(found["blurred"], found["noised"]) > 5 * max(found["fresh"], 0.1)
