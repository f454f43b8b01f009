"""Privacy: is a synthetic image a copy of a training image?

Two images are compared by the cosine of their whitened thumbnails. Whitening by the training set's own covariance takes
away what all images of a kind share (the ribs, the field of view), which makes plain correlation high between
strangers; what is left is what tells one patient from another. Thumbnails are small so that noise, blur and a pixel's
shift do not hide a copy; each is tried mirrored and at small shifts.

Measured with 1,179 training radiographs at 64 x 64 and the 0.99 quantile of 268 strangers as the limit, share of copies
found: exact, shifted by up to 3 pixels, mirrored, brighter, blurred (1 pixel), or noisy (5 % of the range) 100 %; noise
of 10 % 85 %; turned by 3 degrees 89 %; 5 % larger 95 %; mirrored, moved, blurred, noisy and paler at once 71 %; of
other strangers 0.8 %. Without whitening: turned 65 %, larger 53 %. The features that KID uses find no noisy copy and
2 % of the blurred ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import cholesky, solve_triangular

from medsynth.artifacts.shards import Images
from medsynth.judges.batches import in_blocks

GRID = {2: 32, 3: 16}  # thumbnail cells a side, by the number of spatial axes
MARGIN = {2: 2, 3: 1}  # cells by which a query may be shifted each way
RIDGE = 1.0  # variance, in units of a pixel's, that noise may have
BLOCK = 512


class TrainingIndex:
    """The training images, ready to be asked for the one most like a query."""

    def __init__(self, training: Images) -> None:
        """Fit the whitening.

        Args:
            training: uint16 (N, C, *spatial).
        """
        margin = MARGIN[training.ndim - 2]
        inner = (slice(None), slice(None), *[slice(margin, -margin)] * (training.ndim - 2))
        thumbnails = _standardised(_thumbnails(training)[inner])
        self._mean = thumbnails.mean(0)
        centred = thumbnails - self._mean
        covariance = centred.T @ centred / len(centred) + RIDGE * np.eye(centred.shape[1], dtype=np.float32)
        # With C = L L^T, the inner product of L^-1 x and L^-1 y is x^T C^-1 y.
        factor = cholesky(covariance, lower=True)
        self._whitening = solve_triangular(factor, np.eye(len(factor), dtype=np.float32), lower=True).T
        self._training = self._whiten(thumbnails)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` takes."""
        return {"mean": self._mean, "whitening": self._whitening, "training": self._training}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """An index that was fitted before."""
        index = cls.__new__(cls)
        index._mean, index._whitening, index._training = (arrays[key] for key in ("mean", "whitening", "training"))
        return index

    def nearest(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """The most similar training image of each query.

        Args:
            images: uint16 (n, C, *spatial).
        Returns:
            Similarity (n,), a cosine that is 1 for a copy, and the position (n,) of that training image.
        """
        similarity, position = np.full(len(images), -np.inf), np.zeros(len(images), dtype=np.int64)
        for start in range(0, len(images), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(images)))
            for variant in _variants(_thumbnails(images[rows])):
                cosines = self._whiten(_standardised(variant)) @ self._training.T
                best = cosines.argmax(1)
                found = cosines[np.arange(len(rows)), best]
                nearer = found > similarity[rows]
                similarity[rows[nearer]], position[rows[nearer]] = found[nearer], best[nearer]
        return similarity, position

    def _whiten(self, thumbnails: np.ndarray) -> np.ndarray:
        white = (thumbnails - self._mean) @ self._whitening
        return white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)


def _thumbnails(images: Images) -> np.ndarray:
    """Average down to (N, C, *grid) float32."""
    size = [GRID[images.ndim - 2]] * (images.ndim - 2)

    def shrunk(block: np.ndarray) -> np.ndarray:
        return F.interpolate(torch.from_numpy(block.astype(np.float32)), size=size, mode="area").numpy()

    return in_blocks(shrunk, images)


def _standardised(thumbnails: np.ndarray) -> np.ndarray:
    """Flatten, with mean 0 and variance 1 in each image, so that brightness and contrast do not count."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(flat.std(1, keepdims=True), 1e-6)


def _variants(thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    """Every small shift of the thumbnails, and of their mirror images (last axis)."""
    spatial_dims = thumbnails.ndim - 2
    margin = MARGIN[spatial_dims]
    width = GRID[spatial_dims] - 2 * margin
    for side in (thumbnails, thumbnails[..., ::-1]):
        for corner in product(range(2 * margin + 1), repeat=spatial_dims):
            yield side[(slice(None), slice(None), *[slice(start, start + width) for start in corner])]
