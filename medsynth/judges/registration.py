"""Align pairs of thumbnails: block matching gives a first similarity transform, Gauss-Newton steps refine it.

A `Pose` maps positions in one thumbnail (the frame) to positions in another: y → linear @ y + offset, in cells from the
centre, array axis order. Its parameters are a shift, a scale and the rotations, in any number of dimensions. Cells may
be oblong: rotations hold in pixels.

Sources: block matching with a robust fit, Ourselin et al. 2000; inverse compositional Gauss-Newton, Baker and Matthews
2004, equations 35 to 37; Cauchy weights, Holland and Welsch 1977.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STEPS = 6
CAUCHY = 1.0  # residual, in standard deviations of a thumbnail, at which a cell counts half
PRIOR = 0.005  # holds what a pair without texture leaves open, as a share of the mean curvature


@dataclass(frozen=True)
class Pose:
    """Similarity transforms of B pairs: linear (B, d, d), offset (B, d) in cells."""

    linear: Tensor
    offset: Tensor

    def within(self, cells: float, scale: float) -> Tensor:
        """(B,) whether they shift by no more than `cells` and change lengths by no more than the share `scale`."""
        size = torch.linalg.det(self.linear).abs() ** (1 / self.linear.shape[-1])
        return (self.offset.abs().amax(1) <= cells) & (size.log().abs() <= scale)

    def __getitem__(self, rows: Tensor) -> Pose:
        return Pose(self.linear[rows], self.offset[rows])

    def inverse(self) -> Pose:
        """From the other thumbnail's positions to the frame's."""
        back = torch.linalg.inv(self.linear)
        return Pose(back, -torch.einsum("bij,bj->bi", back, self.offset))

    def or_else(self, keep: Tensor, other: Pose) -> Pose:
        """These where `keep` (B,), else those of `other`."""
        return Pose(
            torch.where(keep[:, None, None], self.linear, other.linear),
            torch.where(keep[:, None], self.offset, other.offset),
        )


class Frame:
    """The square or cube of cells that poses are of.

    Attributes:
        fields: (P, d, *cells) displacement of each cell by each generator: d shifts, a scale, the rotations.
    """

    def __init__(self, cells: int, shape: Sequence[int]) -> None:
        """Make the generators.

        Args:
            cells: along each axis.
            shape: (*spatial) of the images in pixels, which says how oblong a cell is.
        """
        dims = len(shape)
        self.cells = cells
        self._known_points: dict[int, Tensor] = {}
        axis = torch.arange(cells) - (cells - 1) / 2
        self.places = torch.stack(torch.meshgrid([axis] * dims, indexing="ij")).float()
        sides = torch.tensor([float(side) for side in shape])
        linear = [torch.eye(dims)]
        for first in range(dims):
            for second in range(first + 1, dims):
                turn = torch.zeros(dims, dims)
                turn[first, second], turn[second, first] = -1.0, 1.0
                linear.append(turn * sides[None, :] / sides[:, None])
        self.linear = torch.stack(linear)  # (P - d, d, d)
        moved = torch.einsum("pij,j...->pi...", self.linear, self.places)
        still = torch.eye(dims).reshape(dims, dims, *[1] * dims).expand(dims, dims, *[cells] * dims)
        self.fields = torch.cat([still, moved])

    def _points(self, per_cell: int) -> Tensor:
        """(*sides, d) places in cells from the centre, so many along each axis of a cell."""
        if per_cell not in self._known_points:
            sides = self.cells * per_cell
            axis = (torch.arange(sides) - (sides - 1) / 2) / per_cell
            dims = len(self.places)
            self._known_points[per_cell] = torch.stack(torch.meshgrid([axis] * dims, indexing="ij"), -1)
        return self._known_points[per_cell]

    def _split(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters (B, P) → linear (B, d, d) without the identity, offset (B, d)."""
        dims = len(self.places)
        return torch.einsum("bp,pij->bij", step[:, dims:], self.linear), step[:, :dims]

    def poses(self, views: Sequence[tuple[float, float, Sequence[float]]]) -> Pose:
        """Poses of so many degrees in the plane of the last two axes, logarithms of scale, and cells of shift."""
        dims = len(self.places)
        turns = [math.radians(degrees) * self.linear[-1] + scale * torch.eye(dims) for degrees, scale, _ in views]
        return Pose(torch.linalg.matrix_exp(torch.stack(turns)), torch.tensor([shift for *_, shift in views]))

    def fitted(self, displacements: Tensor, centres: Tensor, weights: Tensor) -> tuple[Pose, Tensor]:
        """The similarity transform that displacements of blocks tell of, by weighted least squares.

        Args:
            displacements: (B, T, d) in cells; centres: (T, d) of the blocks; weights: (B, T).
        Returns:
            The transforms, and how much of the weights (B,) is of blocks that agree with them.
        """
        dims = len(self.places)
        still = torch.eye(dims).expand(len(centres), dims, dims)
        fields = torch.cat([still, torch.einsum("pij,tj->tpi", self.linear, centres)], 1)  # (T, P, d)
        trust = weights
        for _ in range(STEPS):
            curvature = torch.einsum("bt,tpi,tqi->bpq", trust, fields, fields)
            step = _solve(curvature, torch.einsum("bt,tpi,bti->bp", trust, fields, displacements))
            missed = (displacements - torch.einsum("bp,tpi->bti", step, fields)).square().sum(2)
            trust = weights / (1 + missed).square()
        linear, offset = self._split(step)
        return Pose(linear + torch.eye(dims), offset), trust.sum(1)

    def warped(self, images: Tensor, pose: Pose) -> Tensor:
        """Look at images (B, C, *sides) from the frame: (B, C, *cells), each cell the mean of the points within it."""
        dims = len(self.places)
        per_cell = max(images.shape[-1] // self.cells, 1)
        points = self._points(per_cell)
        grid = (points.flatten(0, -2) @ pose.linear.mT + pose.offset[:, None]).flip(-1) * 2 / self.cells  # x first
        grid = grid.unflatten(1, points.shape[:-1])
        seen = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        pool = F.avg_pool2d if dims == 2 else F.avg_pool3d
        return pool(seen, per_cell) if per_cell > 1 else seen

    def refined(self, template: Tensor, image: Tensor, weights: Tensor, pose: Pose) -> Pose:
        """Gauss-Newton steps towards the pose in which `image` is most like `template`.

        Args:
            template, image: (B, C, *cells).
            weights: (B, *cells) how much a cell counts: little where the two are known to differ.
        """
        dims = len(self.places)
        goal, scale = _standardised(template, weights)
        slopes = torch.stack(torch.gradient(template / scale, dim=list(range(2, 2 + dims))), 2)  # (B, C, d, *cells)
        steepest = torch.einsum("bci...,pi...->bpc...", slopes, self.fields)  # (B, P, C, *cells)
        for _ in range(STEPS):
            residual = _standardised(self.warped(image, pose), weights)[0] - goal
            trust = weights[:, None] / (1 + (residual / CAUCHY).square())
            weighted = (steepest * trust[:, None]).flatten(2)
            step = _solve(weighted @ steepest.flatten(2).mT, torch.einsum("bpn,bn->bp", weighted, residual.flatten(1)))
            turned, moved = self._split(step)
            linear = pose.linear @ (torch.eye(dims) - turned)
            pose = Pose(linear, pose.offset - torch.einsum("bij,bj->bi", linear, moved))
        return pose


def _solve(curvature: Tensor, slope: Tensor) -> Tensor:
    """Solve (B, P, P) x = (B, P); each parameter is held by a share of its own curvature, so that none is open."""
    held = curvature.diagonal(dim1=1, dim2=2)
    prior = PRIOR * held + 1e-6
    return torch.linalg.solve(curvature + torch.diag_embed(prior), slope)


def _standardised(images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, C, *cells) with weighted mean 0 and variance 1, and their standard deviation (B, 1, ...) before."""
    axes = list(range(1, images.ndim))
    share = weights[:, None].expand_as(images)
    share = share / share.sum(axes, keepdim=True).clamp_min(1e-6)
    centred = images - (images * share).sum(axes, keepdim=True)
    deviation = (centred.square() * share).sum(axes, keepdim=True).sqrt().clamp_min(1e-6)
    return centred / deviation, deviation
