"""Planes that a network is given: lesions as discs, and the structures of a label map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def discs(centres: Tensor, sizes: Tensor, shape: Sequence[int]) -> Tensor:
    """Discs or balls with a soft edge, half a pixel out: (N, *shape) in [0, 1].

    Args:
        centres: (N, d) fractions of the image, x first; sizes: (N,) diameters as fractions of its width.
    """
    import torch

    squares = torch.zeros(1, device=centres.device)
    for axis, position in enumerate(centres.unbind(1)):  # x is the last array axis
        extent = shape[-1 - axis]
        pixels = (torch.arange(extent, device=centres.device) + 0.5).view(-1, *[1] * axis)
        distance = pixels - over(position, shape) * extent
        squares = squares + distance**2
    return torch.sigmoid(over(sizes * shape[-1] / 2, shape) + 0.5 - squares.sqrt())


def over(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Reshape (N,) to (N, 1, ..., 1), which broadcasts over planes of a shape."""
    return x.view(-1, *[1] * len(shape))


def structures(mask: Tensor, labels: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The share of each cell that each label covers: (N, K, *shape) in [0, 1].

    Args:
        mask: (N, *spatial) label maps; shape: theirs, or a coarser one.
    """
    import torch
    import torch.nn.functional as F

    one_hot = torch.stack([mask == label for label in labels], 1).float()
    return one_hot if tuple(mask.shape[1:]) == tuple(shape) else F.interpolate(one_hot, size=list(shape), mode="area")


def grid_centres(shape: Sequence[int], device: object = None) -> Tensor:
    """Centres of the cells as fractions (x, y[, z]) of the image: (cells, dims)."""
    import torch

    axes = [(torch.arange(extent, device=device) + 0.5) / extent for extent in shape]  # type: ignore[call-overload]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")][::-1], 1)
