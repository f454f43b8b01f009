"""Structures keep their volume when a label map is resampled, by counting and by the volume of a ball."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medsynth.images.geometry import find_geometry
from medsynth.images.labels import assign_labels


def ball(radius: float, shift: float = 0.0) -> np.ndarray:
    """(48, 48, 48) with its middle at no place that the axes share: of equal shares all or none are won."""
    centre = np.array([23.2, 22.6, 24.1])[:, None, None, None] + shift
    return (((np.indices((48,) * 3) - centre) ** 2).sum(0) < radius**2).astype(np.uint8)


@pytest.mark.parametrize("stored", [12, 17, 24, 40])
@pytest.mark.parametrize("radius", [7.0, 12.0])
def test_a_ball_keeps_its_volume(stored, radius) -> None:
    whole = ball(radius)
    labels = find_geometry((48,) * 3, (stored,) * 3, "pad").resample_labels(whole)
    pixel = (48 / stored) ** 3
    assert labels.sum() * pixel == pytest.approx(int(whole.sum()), abs=max(0.02 * whole.sum(), 1.5 * pixel))


def test_structures_inside_one_another_keep_theirs() -> None:
    whole = ball(16) + ball(8, 0.4) + ball(5, -0.3)
    labels = find_geometry((48,) * 3, (20,) * 3, "pad").resample_labels(whole)
    for label in (1, 2, 3):
        assert (labels == label).sum() * 2.4**3 == pytest.approx((whole == label).sum(), rel=0.02)


def test_what_is_thinner_than_half_a_pixel_stays() -> None:
    away = np.hypot(*(np.indices((90, 90)) - np.array([43.1, 45.3])[:, None, None]))
    vessel = (np.abs(away - 31) < 0.6).astype(np.uint8)
    stored = find_geometry((90, 90), (30, 30), "pad")
    assert (stored.resample(vessel[None], 0) > 0.5).sum() * 9 < 0.4 * vessel.sum()  # what the majority would keep
    assert 9 * int(stored.resample_labels(vessel).sum()) == pytest.approx(int(vessel.sum()), abs=9)  # a pixel


def test_a_label_wins_no_pixel_that_it_does_not_cover_nor_against_much_more() -> None:
    shares = np.zeros((2, 1, 6))
    shares[0] = [1, 0.5, 0.2, 0, 0, 0]
    shares[1] = [0, 0, 0, 0.1, 0.1, 0.1]
    assert assign_labels(shares).tolist() == [[1, 1, 0, 0, 0, 0]]


def test_mirrored_shares_give_mirrored_labels() -> None:
    shares = np.array([[[0, 0.3, 0.7, 0.7, 0.3, 0]]])
    labels = assign_labels(shares)
    assert np.array_equal(labels, labels[:, ::-1]) and labels.tolist() == [[0, 0, 1, 1, 0, 0]]


@given(arrays(np.float64, (3, 4, 5), elements=st.floats(0, 1 / 3)))
def test_any_shares_give_labels_that_cover_their_pixels(shares) -> None:
    labels = assign_labels(shares)
    assert labels.shape == (4, 5) and labels.min() >= 0 and labels.max() <= 3
    for row in (1, 2, 3):
        assert (shares[row - 1][labels == row] > 0).all()
