"""Thumbnails of images and their whitening: what comparisons between images are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth.artifacts.shards import Images
from medsynth.judges.batches import in_blocks

GRID = {2: 32, 3: 16}  # thumbnail cells a side, by the number of spatial axes
MARGIN = {2: 3, 3: 1}  # cells, about 10 % of the image, that one which is shifted may lack at its edges
RIDGE = 1.0  # variance, in units of a cell's, to which whitening does not raise a direction that varies less
MOST = 65535  # of uint16
FLAT = 0.002  # an image of less contrast, as a share of the range, shows nothing that could be the same
NOISE = 0.02  # variance of noise of 5 % of the range in a cell: directions that vary less are taken for noise

Window = tuple[EllipsisType | slice, ...]


def inner_window(dims: int, shift: Sequence[int] | None = None) -> Window:
    """The cells that are left without the margin, shifted by so many."""
    margin, cells = MARGIN[dims], GRID[dims]
    return (..., *(slice(margin + by, cells - margin + by) for by in shift or (0,) * dims))


@dataclass(frozen=True)
class Whitening:
    """A linear map (D, R) after which training images vary alike in every direction, the most varied ones first.

    Directions in which they do not vary at all are left out: R is at most their number.
    """

    mean: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, values: Tensor, ridge: float) -> Self:
        """Fit it to (N, D); to none it is the identity."""
        if len(values) == 0:
            return cls(torch.zeros(values.shape[1]), torch.eye(values.shape[1]))
        mean = values.mean(0)
        centred = values - mean
        if len(values) < values.shape[1]:
            _, deviation, axes = torch.linalg.svd(centred, full_matrices=False)
            variance, axes = deviation.square() / len(centred), axes.T
        else:
            variance, axes = (each.flip(-1) for each in torch.linalg.eigh(centred.T @ centred / len(centred)))
            variance = variance.clamp_min(0)
        scale = variance / (variance + NOISE) / (variance + ridge).sqrt()
        return cls(mean, (axes * scale).contiguous())

    def told(self, images: Tensor, rank: int | None = None) -> Tensor:
        """(n, rank) of length 1 of images (n, ...), or 0 for one that shows nothing: its cosine with any other is 0."""
        values, contrast = standardised(images)
        return self.apply(values, rank) * (contrast > FLAT)[:, None]

    def apply(self, values: Tensor, rank: int | None = None) -> Tensor:
        """(n, D) → (n, rank) of length 1, so that an inner product is a cosine; 0 beyond the directions there are."""
        known = F.normalize((values - self.mean) @ self.matrix[:, :rank], eps=1e-12)
        return F.pad(known, (0, max((rank or 0) - known.shape[1], 0)))


def thumbnails(images: Images, cells: int, rows: np.ndarray | None = None) -> Tensor:
    """Average uint16 (N, C, *spatial) down to (n, C, *cells) float32 in [0, 1], of all images or of some rows."""
    size = [cells] * (images.ndim - 2)

    def shrunk(block: np.ndarray) -> np.ndarray:
        return F.interpolate(torch.from_numpy(block.astype(np.float32) / MOST), size=size, mode="area").numpy()

    return torch.from_numpy(in_blocks(shrunk, images, rows))


def standardised(images: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten to (n, D), with mean 0 and variance 1 in each image, so that brightness and contrast do not count.

    Returns:
        What that gives, and the standard deviation (n,) before.
    """
    flat = images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    deviation = flat.square().mean(1).sqrt()
    return flat / deviation.clamp_min(1e-6)[:, None], deviation
