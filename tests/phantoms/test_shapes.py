import numpy as np
import pytest

from medsynth.phantoms import fields, shapes

SIZES = [(32, 32), (64, 64), (64, 96), (300, 300)]


@pytest.mark.parametrize("size", SIZES)
def test_a_disc_covers_its_area(size):
    disc = shapes.Blob((0.5, 0.6), (0.2, 0.2))
    area = shapes.cover(disc.distance(shapes.places(size)), 0.02).mean() * max(size) / min(size)
    assert area == pytest.approx(np.pi * 0.2**2, rel=0.02)


def test_a_turned_ellipse_lies_along_its_turn():
    place = shapes.places((200, 200))
    inside = shapes.Blob((0.5, 0.5), (0.3, 0.05), np.pi / 4).distance(place) < 0
    y, x = np.nonzero(inside)
    assert np.corrcoef(y, x)[0, 1] > 0.9


def test_waves_move_an_outline_by_their_height():
    place = shapes.places((400, 400))
    wavy = shapes.Blob((0.5, 0.5), (0.2, 0.2), waves=((3, 0.1, 0.0),))
    y, x = place[:, wavy.distance(place) < 0] - 0.5
    assert np.hypot(y, x).max() == pytest.approx(0.22, abs=0.004)


def test_the_distance_to_a_line_is_that_to_its_nearest_point():
    place = np.array([[0.5, 0.0], [0.3, 0.9]])[:, :, None]  # (0.5, 0.3) and (0.0, 0.9)
    line = np.array([[0.2, 0.2], [0.2, 0.6], [0.8, 0.6]])
    np.testing.assert_allclose(shapes.to_line(place, line)[:, 0], [0.3, np.hypot(0.2, 0.3)])


def test_a_lesion_is_measured_in_shares_of_the_image():
    labels = np.zeros((40, 80), np.uint8)
    labels[10:20, 40:60] = 4
    measured = shapes.measure_lesion(labels, 4)
    assert (measured["lesion_x"], measured["lesion_y"]) == (0.625, 0.375)
    assert measured["lesion_size"] == pytest.approx(2 * np.sqrt(200 / np.pi) / 80)
    assert set(shapes.measure_lesion(labels, 3).values()) == {"n/a"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_a_power_law_field_has_its_slope_and_a_variance_that_its_size_leaves(size, slope):
    field = fields.power_law(np.random.default_rng(0), size, slope)
    assert field.shape == size and field.std() < 1.05
    if slope and size[0] == size[1]:
        power = np.abs(np.fft.fft2(field)) ** 2
        frequency = size[0] * np.hypot(*np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[0])))
        low, high = (power[(frequency >= f) & (frequency < f + 2)].mean() for f in (3, 10))
        assert np.log(low / high) / np.log(11 / 4) == pytest.approx(2 * slope, abs=0.5)


def test_more_pixels_show_the_same_field():
    small, large = (fields.power_law(np.random.default_rng(3), (side, side), 1.5) for side in (64, 256))
    assert np.corrcoef(small.ravel(), shapes.pool(large, (64, 64)).ravel())[0, 1] > 0.95
    small, large = (fields.smooth(np.random.default_rng(3), (side, side), 5) for side in (64, 256))
    np.testing.assert_allclose(small, shapes.pool(large, (64, 64)), atol=0.06)
