"""The files that an image is handed over as, one format a name in `registry.RELEASE_FORMATS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsynth import registry
from medsynth.artifacts.store import Store, typical_spacing_mm
from medsynth.config.columns import FURTHER_FILES
from medsynth.errors import InputError
from medsynth.images.formats import nifti, raster
from medsynth.images.formats.format import Encode, Format
from medsynth.images.geometry import centred_affine
from medsynth.images.image import Image
from medsynth.release.intensity import Grey

MASK_DISCLAIMER = "Label map of a training image, which a synthetic image was asked for by. Not for diagnosis."


@dataclass(frozen=True)
class ReleaseFormat:
    """One kind of file.

    Attributes:
        viewed: whether volumes.html shows volumes from such files.
        scale: how a reader of the dataset gets from a file's value to an intensity, for the card.
        feature: the type of Hugging Face `datasets` that decodes it.
    """

    suffix: str
    format: Format
    scale: str
    feature: str = "Image"
    viewed: bool = False

    @property
    def encode(self) -> Encode:
        assert self.format.encode is not None
        return self.format.encode


PNG = ReleaseFormat(
    ".png", raster.PNG, "PNG: the file's value * `rescale_slope` + `rescale_intercept` is the intensity"
)
NIFTI = ReleaseFormat(
    ".nii.gz",
    nifti.NIFTI,
    "NIfTI: programs that follow its header read the intensity and the place in mm",
    feature="Nifti",
    viewed=True,
)


def named(names: tuple[str, ...]) -> dict[str, ReleaseFormat]:
    """The formats of these names, the first of which is the dataset's own."""
    return {name: registry.RELEASE_FORMATS[name].load() for name in names}


def of_file(path: Path) -> tuple[ReleaseFormat, str]:
    """The format of a file that is to be written, and its name.

    Raises:
        InputError: no format has its suffix.
    """
    formats = named(tuple(registry.RELEASE_FORMATS))
    for name, found in formats.items():
        if path.name.endswith(found.suffix):
            return found, name
    raise InputError(f"{path}: no format has this suffix, expected {' or '.join(f.suffix for f in formats.values())}")


def file_columns(names: tuple[str, ...]) -> dict[str, str]:
    """Format → the column of metadata.csv that names its files."""
    return {name: "file_name" if name == names[0] else FURTHER_FILES[name] for name in names}


@dataclass(frozen=True)
class Encoder:
    """How the images of one store and generator are written.

    Attributes:
        affine: 4x4 of every image, None where no training image states a spacing.
    """

    grey: Grey
    affine: np.ndarray | None
    about: Mapping[str, str]

    def encode(self, kind: ReleaseFormat, image: np.ndarray, sample_id: str) -> bytes:
        """The file of one stored uint16 image (C, *spatial)."""
        grey = self.grey
        values = Image(grey.values(image), self.affine, (grey.intercept, grey.high))
        return kind.encode(values, grey.slope, grey.intercept, {"Title": sample_id, **self.about})

    def encode_mask(self, kind: ReleaseFormat, mask: np.ndarray, sample_id: str) -> bytes:
        """The file of one uint8 label map (*spatial)."""
        about = {"Title": sample_id, **self.about, "Disclaimer": MASK_DISCLAIMER}
        return kind.encode(Image(mask[None], self.affine, (0.0, 255.0)), 1.0, 0.0, about)


def typical_affine(store: Store) -> np.ndarray | None:
    """Centred, with the median spacing of the training images; None where none of them states one."""
    spacing_mm = typical_spacing_mm(store.split("train"))
    return centred_affine(spacing_mm, store.info.size) if spacing_mm else None
