"""The label map of an image: checked, brought to the image's grid where it has another, and resampled with it."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import ndimage

from medsynth.errors import InputError
from medsynth.images.geometry import Geometry
from medsynth.images.image import Image
from medsynth.images.intensity import match_channels

MOST_MM_APART = 0.1  # of a volume and its mask: headers keep an affine as float32, some as a quaternion
SPATIAL_DIMS = 3
LARGEST_LABEL = 255


def resample_mask(mask: Image, image: Image, geometry: Geometry) -> np.ndarray:
    """The label map of a stored image.

    A volume's mask may have another grid if its affine puts it on the same box in mm, within half a voxel: each voxel
    of the image then takes the label of the nearest voxel of the mask.

    Args:
        mask, image: as they came from their files.
        geometry: of the stored image.
    Returns:
        (*geometry.size) uint8.
    Raises:
        InputError: labels that are no whole numbers from 0 to 255, colour, or a mask that lies elsewhere.
    """
    labels = match_channels(mask, 1)[0]
    apart = None if SPATIAL_DIMS not in (labels.ndim, image.voxels.ndim - 1) else _mm_apart(mask, image)
    if labels.shape != geometry.source:
        if apart is None:
            raise InputError(f"{labels.shape} pixels, its image has {geometry.source}")
        if apart > (most := min(*_spacing(mask), *_spacing(image)) / 2):
            raise InputError(
                f"{labels.shape} voxels, its image has {geometry.source}, and the affine puts its box {apart:.3g} mm "
                f"away from the image's, expected at most {most:.3g}"
            )
    elif apart is not None and apart > MOST_MM_APART:
        raise InputError(f"the affine puts it {apart:.3g} mm away from its image")
    if labels.min() < 0 or labels.max() > LARGEST_LABEL or (labels != np.rint(labels)).any():
        raise InputError(f"labels from {labels.min()} to {labels.max()}, expected whole numbers from 0 to 255")
    whole = labels.astype(np.uint8)
    return geometry.resample_labels(whole if whole.shape == geometry.source else _nearest(whole, mask, image))


def _mm_apart(mask: Image, image: Image) -> float | None:
    """The largest distance between the same outer corners of two volumes; None where one of them states no affine."""
    if mask.affine is None or image.affine is None or mask.voxels.ndim != image.voxels.ndim:
        return None
    return float(np.linalg.norm(_corners(mask, mask.affine) - _corners(image, image.affine), axis=0).max())


def _corners(volume: Image, affine: np.ndarray) -> np.ndarray:
    """(3, 8) in mm."""
    corners = np.array([*product(*((-0.5, length - 0.5) for length in volume.spatial_shape))]).T
    return affine[:3, :3] @ corners + affine[:3, 3:]


def _spacing(volume: Image) -> tuple[float, ...]:
    assert volume.spacing_mm is not None
    return volume.spacing_mm


def _nearest(labels: np.ndarray, mask: Image, image: Image) -> np.ndarray:
    """The label of the voxel of the mask that is nearest to each voxel of the image, (*spatial) uint8."""
    assert mask.affine is not None and image.affine is not None
    to_mask = np.linalg.inv(mask.affine) @ image.affine
    return ndimage.affine_transform(
        labels, to_mask[:3, :3], to_mask[:3, 3], image.spatial_shape, order=0, mode="nearest"
    )
