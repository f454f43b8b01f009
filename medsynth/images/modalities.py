"""The table of modalities: what a step must know of each kind of image, and nothing else about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Modality:
    """One kind of image.

    Attributes:
        spatial_dims: 2 for images, 3 for volumes.
        channels: 1 for grayscale, 3 for RGB.
        unit: what an intensity means.
        intensity: which (low, high) maps to [-1, 1]: "display" takes the range that the file is made to be shown
            with (0-255 of an 8-bit PNG, the VOI window of a DICOM), "window" a fixed range in the modality's unit,
            "percentiles" a range of each image's own intensities.
        limits: the fixed window; or percentiles in percent, the lower of all voxels, the upper of those above their
            mean, so that the size of the dark surround does not matter; unused with "display".
        flip_axes: axes of (*spatial) that may be mirrored without changing what the image shows; the left-right
            axis is absent where laterality matters.
        dicom_codes: values of Modality (0008,0060) that a DICOM file of this kind carries.
        optic_disc: images show one, by which they can be centred.
    """

    spatial_dims: int
    channels: int
    unit: str
    intensity: Literal["display", "window", "percentiles"]
    limits: tuple[float, float]
    flip_axes: tuple[int, ...]
    dicom_codes: tuple[str, ...]
    optic_disc: bool = False


MODALITIES: dict[str, Modality] = {
    "chest_xray": Modality(2, 1, "detector grey", "display", (0.0, 0.0), (), ("CR", "DX")),
    "ct": Modality(2, 1, "HU", "window", (-1000.0, 1000.0), (), ("CT",)),
    "ct_volume": Modality(3, 1, "HU", "window", (-1000.0, 1000.0), (), ("CT",)),
    "mri": Modality(2, 1, "arbitrary", "percentiles", (0.5, 99.5), (), ("MR",)),
    "mri_volume": Modality(3, 1, "arbitrary", "percentiles", (0.5, 99.5), (), ("MR",)),
    "mammography": Modality(2, 1, "detector grey", "display", (0.0, 0.0), (1,), ("MG",)),
    "ultrasound": Modality(2, 1, "echo grey", "display", (0.0, 0.0), (1,), ("US",)),
    "fundus": Modality(2, 3, "RGB", "display", (0.0, 0.0), (), ("OP",), optic_disc=True),
}

# Windows of CT by name, (low, high) in HU; centres and widths as scanners preset them.
WINDOWS_HU: dict[str, tuple[float, float]] = {
    "lung": (-1350.0, 150.0),
    "soft_tissue": (-160.0, 240.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
}
