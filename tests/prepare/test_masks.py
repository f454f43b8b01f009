"""Label maps on another grid than their image's."""

import numpy as np
import pytest

from medsynth.errors import InputError
from medsynth.images.geometry import find_geometry
from medsynth.images.image import Image
from medsynth.prepare.masks import resample_mask

SIZE = (16, 12, 20)
# Of (z, y, x) voxels: oblique, and no two sizes alike.
AFFINE = np.array([[0.2, 0, 0.9, 5], [0, 1.1, 0, -8], [3, 0, -0.06, 7], [0, 0, 0, 1.0]])


def blocks() -> np.ndarray:
    """Two structures of even edges, so that a grid of half the voxels can show them exactly."""
    labels = np.zeros(SIZE, np.uint8)
    labels[4:10, 2:8, 6:12] = 1
    labels[10:14, 2:8, 6:12] = 2
    return labels


def grid(factors) -> tuple[tuple[int, ...], np.ndarray]:
    """A grid on the same box, its voxels so many times as long."""
    shape = tuple(round(n / f) for n, f in zip(SIZE, factors, strict=True))
    scale = np.diag([*factors, 1.0])
    scale[:3, 3] = (np.array(factors) - 1) / 2
    return shape, AFFINE @ scale


def stored(mask: Image) -> np.ndarray:
    image = Image(np.zeros((1, *SIZE), np.float32), AFFINE)
    return resample_mask(mask, image, find_geometry(SIZE, SIZE, "pad"))


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 1), (0.5, 0.5, 0.5), (2, 0.5, 1)])
def test_a_mask_on_another_grid_of_the_same_box_is_taken_by_the_nearest_voxel(factors) -> None:
    shape, affine = grid(factors)
    labels = blocks()
    for axis, factor in enumerate(factors):
        picked = np.floor((np.arange(shape[axis]) + 0.5) * factor).astype(int)
        labels = labels.take(picked, axis)
    assert labels.shape == shape
    assert np.array_equal(stored(Image(labels[None], affine)), blocks())


def test_the_same_grid_is_taken_as_it_is() -> None:
    assert np.array_equal(stored(Image(blocks()[None], AFFINE)), blocks())
    assert np.array_equal(stored(Image(blocks()[None])), blocks())


def shifted(mm: float) -> Image:
    shape, affine = grid((2, 2, 2))
    affine = affine.copy()
    affine[0, 3] += mm
    return Image(np.zeros((1, *shape), np.uint8), affine)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            shifted(0.6),
            r"\(8, 6, 10\) voxels, its image has .* box 0\.6 mm away from the image's, expected at most 0\.45",
        ),
        (Image(np.zeros((1, 8, 6, 10), np.uint8)), r"\(8, 6, 10\) pixels, its image has \(16, 12, 20\)"),
        (Image(np.zeros((1, 12, 20), np.uint8), AFFINE[:, [1, 2, 0, 3]]), r"\(12, 20\) pixels, its image has"),
        (Image(blocks()[None], AFFINE + np.eye(4)[:, [3, 1, 2, 0]] * [0, 0, 0, 0.2]), "the affine puts it 0.2 mm away"),
        (Image(np.full((1, *SIZE), 0.5, np.float32), AFFINE), "labels from 0.5 to 0.5, expected whole numbers"),
    ],
)
def test_a_mask_that_lies_elsewhere_is_refused(mask, message) -> None:
    with pytest.raises(InputError, match=message):
        stored(mask)


def test_half_a_voxel_of_rounding_is_taken() -> None:
    assert not stored(shifted(0.3)).any()
