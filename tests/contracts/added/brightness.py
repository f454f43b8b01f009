"""A loss in one file: the square of the difference of mean intensities."""

from torch import Tensor

from medsynth.models.contract import Batch


def brightness(image: Tensor, batch: Batch) -> Tensor:
    return (image - batch.image).flatten(1).mean(1).square()
