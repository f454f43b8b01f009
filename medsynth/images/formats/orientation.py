"""Volumes turned to RAS+, whatever the axes of their file."""

from __future__ import annotations

import numpy as np


def turn_to_ras(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exchange and mirror axes so that they come nearest to right, front and up; no voxel is resampled.

    Args:
        values: (x, y, z) as the file has its axes, whichever way they point.
        affine: 4x4, index of (x, y, z) → mm, RAS+; its columns are linearly independent.
    Returns:
        (z, y, x) with z up, y to the front and x to the right, and its affine, the columns in the same order.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turned = io_orientation(affine)
    affine = affine @ inv_ornt_aff(turned, values.shape)
    return apply_orientation(values, turned).T, affine[:, [2, 1, 0, 3]]
