"""What MRI volumes share: the scan's conditions, and what the coil receives of a block of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medsynth.phantoms.ct_body import SEXES
from medsynth.phantoms.fields import FINEST
from medsynth.phantoms.mri import Scan
from medsynth.phantoms.volume import Volume

NOISE_SLICE_CM = 0.3  # thickness of the slices that `Scan.noise` is of


def scanned(
    pathologies: Sequence[str], sequences: Sequence[str], thickest_mm: float, **others: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The conditions of an MRI volume."""
    return {
        "pathology": {"kind": "categorical", "values": list(pathologies)},
        "sequence": {"kind": "categorical", "values": list(sequences)},
        **others,
        "severity": {"kind": "number", "range": [0.0, 1.0]},
        "age_years": {"kind": "number", "range": [18.0, 95.0], "unit": "years"},
        "sex": {"kind": "categorical", "values": list(SEXES)},
        "slice_thickness_mm": {"kind": "number", "range": [1.0, thickest_mm], "unit": "mm"},
        "lesion": {"kind": "lesions", "severity": "severity"},
    }


def receive(
    rng: np.random.Generator, volume: Volume, image: np.ndarray, scan: Scan, brightest: float, typical: float
) -> np.ndarray:
    """The magnitude of what the coil receives, 0 to 1: an uneven field, and noise in both channels (Rician).

    Noise is `scan.noise` of the `typical` signal in voxels of a FINEST-th of the field and NOISE_SLICE_CM; the signal
    grows with the slice thickness and the pixel (Gudbjartsson and Patz 1995, MRM 34:910, on the magnitude).

    Args:
        image: signal (slices, rows, columns).
        brightest: the signal that is shown near white.
    """
    near, far = (volume.texture(rng, cells).mean(1) for cells in (2, 4))
    uneven = np.exp(0.05 * scan.tesla * near + 0.03 * far)
    level = rng.uniform(0.68, 0.85)
    noise = scan.noise * typical * min(image.shape[1:]) / FINEST * NOISE_SLICE_CM / volume.thickness
    real, imaginary = (noise * rng.standard_normal(image.shape) for _ in range(2))
    return np.clip(np.hypot(image * uneven + real, imaginary) / brightest * level, 0, 1)
