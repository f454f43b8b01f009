import numpy as np
import pytest

from medsynth.images.content import content_box, is_brighter_on_the_right


def scene(shape: tuple[int, ...] = (120, 200)) -> np.ndarray:
    """A disc of grey on black, noise of JPEG around it, a mark burnt in beside it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, -0.99) + 0.02 * rng.standard_normal(shape)
    image[np.hypot(y - 60, x - 90) < 40] = 0.1
    image[4:10, 170:195] = 1.0
    return image.clip(-1, 1)[None]


def test_content_is_the_largest_part_that_is_not_dark():
    (top, bottom), (left, right) = content_box(scene())
    assert [top, bottom, left, right] == pytest.approx([21, 100, 51, 130], abs=2)


def test_content_of_a_large_image_is_found_to_within_a_step():
    large = scene().repeat(6, 1).repeat(6, 2)
    (top, bottom), (left, right) = content_box(large)
    assert [top, bottom, left, right] == pytest.approx([126, 600, 306, 780], abs=25)


def test_a_volume_has_a_box_on_each_axis():
    volume = np.full((1, 20, 30, 40), -1.0)
    volume[0, 5:15, 10:25, 8:30] = 0.5
    assert content_box(volume) == ((5, 15), (10, 25), (8, 30))


def test_all_of_an_image_in_which_nothing_is_bright_counts():
    assert content_box(np.full((1, 12, 9), -1.0)) == ((0, 12), (0, 9))


def test_a_breast_lies_where_it_is_brighter():
    image = np.zeros((1, 10, 11))
    image[..., 7:] = 1
    assert is_brighter_on_the_right(image) and not is_brighter_on_the_right(image[..., ::-1])
