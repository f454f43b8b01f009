"""A feature space of textures, without weights: what no network has learned from photographs.

Grey-level co-occurrence (Haralick et al. 1973, "Textural features for image classification", Section III), rotation
invariant local binary patterns (Ojala et al. 2002, "Multiresolution gray-scale and rotation invariant texture
classification with local binary patterns", Section 2) and energies of a Haar transform (Mallat 1989), each at several
scales. They tell how fine, how rough and how regular an image is, and nothing of which organs it shows or where.
"""

from __future__ import annotations

import numpy as np
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from medsynth.artifacts.shards import Images
from medsynth.judges.batches import in_blocks
from medsynth.judges.features import SLICES, to_uint8

LEVELS = 32  # grey levels of the co-occurrence
DISTANCES = (1, 2, 4)  # pixels
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)  # that it is averaged over
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
PATTERNS = ((8, 1), (16, 2))  # neighbours of a pixel, and their distance
HAAR_LEVELS = 3
NOISE = 1 / 12  # variance of rounding to a grey level: energies below it are not seen


def texture_features(images: Images, rows: np.ndarray | None = None) -> np.ndarray:
    """Texture of stored images, of a volume's that of SLICES slices in each plane, averaged.

    Args:
        images: uint16 (N, C, *spatial); with a side below 8, fewer levels of the Haar transform are told of.
        rows: (n,) positions of those that are asked for; all if None.
    Returns:
        float64 (n, d): of each channel its own. Contrasts and energies are logarithms.
    """
    return in_blocks(lambda block: np.stack([_of_image(image) for image in block]), images, rows)


def _of_image(image: np.ndarray) -> np.ndarray:
    """(d,) of one image (C, *spatial)."""
    levels = min(HAAR_LEVELS, int(np.log2(min(image.shape[1:]))))
    grey = np.stack([to_uint8(channel[None, None])[0] for channel in image])
    return np.concatenate([np.mean([_of_plane(plane, levels) for plane in _planes(channel)], 0) for channel in grey])


def _planes(channel: np.ndarray) -> list[np.ndarray]:
    """The image itself, or slices of a volume at the middles of SLICES equal parts of each axis."""
    if channel.ndim == 2:
        return [channel]
    return [
        channel.take((2 * part + 1) * channel.shape[axis] // (2 * SLICES), axis)
        for axis in range(3)
        for part in range(SLICES)
    ]


def _of_plane(plane: np.ndarray, levels: int) -> np.ndarray:
    """(d,) of uint8 (H, W)."""
    matrix = graycomatrix(plane // (256 // LEVELS), DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True)
    found = {name: graycoprops(matrix, name).mean(1) for name in PROPERTIES}
    found["contrast"] = np.log(found["contrast"] + NOISE)
    shares = []
    for neighbours, distance in PATTERNS:
        codes = local_binary_pattern(plane, neighbours, distance, "uniform").astype(int)
        shares.append(np.bincount(codes.ravel(), minlength=neighbours + 2) / codes.size)
    return np.concatenate([*found.values(), *shares, _haar_energies(plane.astype(float), levels)])


def _haar_energies(plane: np.ndarray, levels: int) -> np.ndarray:
    """(3 x levels,) log mean square of details: across, down and diagonal, fine to coarse."""
    energies = []
    for _ in range(levels):
        height, width = (side // 2 * 2 for side in plane.shape)
        a, b, c, d = (plane[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1))
        details = (a - b + c - d, a + b - c - d, a - b - c + d)
        energies += [np.log(np.mean((part / 2) ** 2) + NOISE) for part in details]
        plane = (a + b + c + d) / 4
    return np.array(energies)
