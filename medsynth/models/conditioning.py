"""What the networks of a family are told of the images that are asked for, and how strongly its planes are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsynth.conditions.schema import Condition
from medsynth.models.contract import AUGMENTATION_FEATURES, ImageSpec

MAP_SCALE = 3.0  # lesions cover little of the planes; set on one pair of short runs, whose intervals overlap


@dataclass(frozen=True)
class Conditioning:
    """What the networks are told of N images.

    Attributes:
        condition: N conditions.
        planes: (N, P, *spatial) what is drawn of them, at the resolution of the images that a network makes or sees.
        augmentation: (N, A) what was done to each image, zero for nothing.
    """

    condition: Condition
    planes: Tensor
    augmentation: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Conditioning:
        return Conditioning(self.condition[rows], self.planes[rows], self.augmentation[rows])


def conditioning_of(spec: ImageSpec, condition: Condition, augmentation: Tensor | None = None) -> Conditioning:
    """What is told of conditions, at the resolution of the whole image; no augmentation is zeros."""
    planes = MAP_SCALE * spec.conditions.draw(condition, spec.size)
    if augmentation is None:
        augmentation = planes.new_zeros(len(condition), AUGMENTATION_FEATURES[spec.spatial_dims])
    return Conditioning(condition, planes, augmentation)
