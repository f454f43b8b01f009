"""One image in memory, as it came from its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medsynth.errors import InputError

MAX_VOXELS = 64 * 2**20  # larger than any radiograph; a decompression bomb is refused by its header
MAX_SIDE = 2**16 - 1  # the most that DICOM can state
MAX_BYTES = 8 * MAX_VOXELS  # of a file, and of what is inflated before its header can be read


@dataclass(frozen=True, eq=False)
class Image:
    """An image or a volume.

    Attributes:
        voxels: (C, *spatial) in the modality's unit; spatial axes are (rows, columns) or (slices, rows, columns).
        affine: 4x4, voxel index → mm, RAS+; a 2D image fills the first two columns with its rows and columns.
            None where the file states no spacing.
        display: the (low, high) intensity that the file asks to be shown as black and white, None where it asks none.
        dicom_code: Modality (0008,0060) of a DICOM file, else empty.
        bits: of each value, where values are unsigned grey levels or colours without a unit; None where the file states
            what they mean.
        padding: (*spatial) bool, where the file says that nothing was imaged; None where it says so nowhere.
        burned_in: the file says that its pixels show text that may identify a person.
    """

    voxels: np.ndarray
    affine: np.ndarray | None = None
    display: tuple[float, float] | None = None
    dicom_code: str = ""
    bits: int | None = None
    padding: np.ndarray | None = None
    burned_in: bool = False

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self.voxels.shape[1:]

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """The voxel size along each spatial axis, None where the file states none."""
        return None if self.affine is None else spacing_of(self.affine, self.voxels.ndim - 1)


def spacing_of(affine: np.ndarray, spatial_dims: int) -> tuple[float, ...]:
    """The voxel size in mm along each spatial axis of an affine."""
    return tuple(np.linalg.norm(affine[:3, :spatial_dims], axis=0).tolist())


def refuse_oversized(shape: Sequence[int]) -> None:
    """Check a header's shape before its pixels are decoded.

    Raises:
        InputError: the shape holds no voxel or more than MAX_VOXELS, or a side is longer than MAX_SIDE.
    """
    if max(shape) > MAX_SIDE:
        raise InputError(f"a side of {max(shape):,} pixels, expected at most {MAX_SIDE:,}")
    if min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{' x '.join(f'{n:,}' for n in shape)} pixels, expected 1 to {MAX_VOXELS:,}")
