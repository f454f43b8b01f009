"""Which datasets a hand-over is for: the torch-free side of `registry.HANDOVERS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medsynth.images.modalities import MODALITIES

if TYPE_CHECKING:
    from medsynth.config.datasets import Dataset

DEFAULT = ("croissant", "decathlon")  # no further copy of the images
# Of BIDS, by the value of a condition in small letters.
SUFFIXES = {
    **{"t1": "T1w", "t1w": "T1w", "t2": "T2w", "t2w": "T2w", "pd": "PDw", "pdw": "PDw", "flair": "FLAIR"},
    **{"t2star": "T2starw", "t2starw": "T2starw"},
}


class OfAny:
    """For every dataset."""

    @staticmethod
    def misfit(dataset: Dataset) -> str | None:
        """Why it cannot hold the images of a dataset, None where it can."""
        return None


class OfMrVolumes:
    """For MR volumes whose contrast is stated, by which BIDS names files."""

    @staticmethod
    def misfit(dataset: Dataset) -> str | None:
        """Why it cannot hold the images of a dataset, None where it can."""
        modality = MODALITIES[dataset.modality]
        if modality.spatial_dims != 3 or "MR" not in modality.dicom_codes:
            return f"is for MR volumes, this dataset has {dataset.modality}"
        if dataset.contrast is None and contrast_column(dataset.conditions) is None:
            return (
                "needs the contrast of the volumes: the key contrast, or a categorical condition with values of "
                f"{', '.join(SUFFIXES)}"
            )
        return None


def contrast_column(conditions: Mapping[str, Any]) -> str | None:
    """The condition whose values are all contrasts, None where there is none."""
    for name, field in conditions.items():
        values = getattr(field, "values", ())
        if values and all(value.lower() in SUFFIXES for value in values):
            return name
    return None
