import importlib.util

import numpy as np
import pytest

from medsynth.config.judges import other_extractor
from medsynth.judges.features import extract, features, lite1_features, to_uint8
from tests.conftest import SHARED_DATA

REFERENCE = SHARED_DATA.parent / "measure/kid.py"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 24, 24), dtype=np.uint8)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference script is not on this machine")
def test_agrees_with_the_reference_script(images: np.ndarray) -> None:
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    expected = reference.features(images).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(features(images), expected, atol=1e-4)


def test_features_are_those_recorded(images: np.ndarray) -> None:
    # The reference script on the same array:
    #   f = kid.features(np.random.default_rng(0).integers(0, 256, (20, 24, 24), dtype=np.uint8))
    #   print(f.mean(), f[0].max(), f[:, 7].sum())
    f = features(images)
    np.testing.assert_allclose(
        [f.mean(), f[0].max(), f[:, 7].sum()], [0.14242267815, 4.25826263428, 0.06674918532], rtol=1e-4
    )


def test_a_sampler_is_chosen_by_another_network_than_distances_are_measured_in(images: np.ndarray) -> None:
    assert other_extractor("efficientnet_lite0", 2) == "efficientnet_lite1"
    assert other_extractor("efficientnet_lite1", 2) == "efficientnet_lite0"
    assert other_extractor("efficientnet_lite0_planes", 3) == "efficientnet_lite1_planes"
    assert other_extractor("my_own", 2) == "efficientnet_lite1"
    stored = images[:, None].astype(np.uint16) * 257
    other = extract(stored, name="efficientnet_lite1")
    assert np.array_equal(other, lite1_features(images)) and other.shape == (20, 1280)
    assert np.abs(other - features(images)).mean() > 0.1


def test_grey_is_rgb_with_equal_channels(images: np.ndarray) -> None:
    np.testing.assert_allclose(features(np.stack([images] * 3, -1)), features(images), atol=1e-5)


def test_stored_images_are_rounded_to_8_bits() -> None:
    stored = np.array([0, 128, 129, 257, 65535 - 128, 65535], dtype=np.uint16).reshape(1, 1, 2, 3)
    assert to_uint8(stored).ravel().tolist() == [0, 0, 1, 1, 255, 255]


def test_features_of_a_volume_are_the_mean_of_its_slices(images: np.ndarray) -> None:
    """8 voxels a side: the middles of four parts are the slices 1, 3, 5 and 7 of each plane."""
    volume = np.random.default_rng(1).integers(0, 256, (8, 8, 8), dtype=np.uint8)
    planes = [volume[1::2], volume[:, 1::2].swapaxes(0, 1), volume[:, :, 1::2].transpose(2, 0, 1)]
    expected = np.mean([features(plane).mean(0) for plane in planes], 0)
    found = extract(np.stack([volume, volume[::-1]])[:, None].astype(np.uint16) * 257)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert abs(found[1] - found[0]).max() > 1e-3
