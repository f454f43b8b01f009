"""Privacy screening: is a synthetic image, or a part of it, a copy of a training image?

Two images are compared by thumbnails (32 x 32 cells, 16 x 16 x 16 of volumes), small enough that noise, blur and
compression do not hide a copy, in two ways:

- whole: the cosine of the whitened thumbnails. Whitening by the training set's own covariance takes away what all
  images of a kind share (the ribs, the field of view), which makes plain correlation high between strangers.
- parts: the thumbnail is cut into overlapping tiles, each standardised and whitened on its own; the mean cosine of the
  better half of the tiles. A copy of which a third was replaced keeps it.

Comparing every query in every pose with every training image would cost too much. So the search has two steps:

1. Every tile of the query is compared with the same tile of every training image, shifted by up to MARGIN cells each
   way (10 %), as it is and mirrored. The SHORTLIST training images whose tiles are most like the query's, and of these
   the FINALISTS whose tiles agree on a pose, go on. So do the BY_VIEWS that are most like the whole thumbnail, by its
   leading components, when it is turned, enlarged and shifted by VIEWS: where all images have the same structures, as
   ribs, turned tiles are like many.
2. Each of these is registered with the query (`registration`: the tiles' shifts, then Gauss-Newton) and compared.

Poses up to 8 degrees, 12 % of scale and 10 % of shift are covered, which includes the generator's own augmentations.
Mirrored copies (last axis) are looked for in every modality: that an image may not be mirrored in training does not
mean that no copy is. It is a screening: a copy in another pose, of less than half of the tiles, or whose intensities
were remapped beyond recognition is not found. `planted` measures, per kind of change, what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth.artifacts.shards import Images
from medsynth.judges.registration import Frame, Pose
from medsynth.judges.thumbnails import (
    FLAT,
    GRID,
    MARGIN,
    RIDGE,
    Whitening,
    Window,
    inner_window,
    standardised,
    thumbnails,
)

TILE = {2: 8, 3: 6}  # cells a side of a tile
STRIDE = {2: 6, 3: 4}  # cells between two tiles
TILE_RIDGE = 0.1  # as RIDGE, of a tile
FLAT_TILE = 0.1  # a tile of less contrast, as a share of the image's, tells nothing
FEWEST_TILES = 4  # that `parts` is the mean of
RANK = 24  # leading components of a tile that the first step looks at
SHORTLIST, FINALISTS = 16, 4  # training images for each query that are registered by tiles, and finely
BY_VIEWS = 3  # further ones that are finely registered, from the whole thumbnail
VIEW_RANK = 64  # leading components of the whole thumbnail that are compared
VIEWS = tuple(product((-5.0, 0.0, 5.0), (-0.1, 0.0, 0.1)))  # degrees and scales (as logarithms)
VIEW_SHIFTS = {2: (-2.0, 0.0, 2.0), 3: (0.0,)}  # cells, along each axis
FINER = {2: 2, 3: 1}  # cells of the query's thumbnail for each of a training image's, when it is finely registered
BLOCK = 32  # queries
TRAINING_BLOCK = 4096


LIKENESSES = ("whole", "parts")


@dataclass(frozen=True)
class Likeness:
    """How like images are to the training image most like them.

    Attributes:
        whole, parts: (n,) cosines, 1 for a copy; each the highest over the training images.
        position: (n,) the training image that is most alike, by whichever is higher.
    """

    whole: np.ndarray
    parts: np.ndarray
    position: np.ndarray

    @property
    def by_name(self) -> dict[str, np.ndarray]:
        """Of whole and parts, (n,) each."""
        return {name: getattr(self, name) for name in LIKENESSES}


@dataclass(frozen=True)
class Pairs:
    """Queries beside training images that they may be copies of.

    Attributes:
        side: (n, K) row of the query, or of its mirror image; position: (n, K) of the training image.
        alike: (n, K, T) how much each tile counts.
        pose: of the n * K pairs, in which they are most alike as far as is known.
    """

    side: Tensor
    position: Tensor
    alike: Tensor
    pose: Pose

    def beside(self, other: Pairs) -> Pairs:
        """These, and for each query those of another search too."""
        count = len(self.side)
        linear, offset = (
            torch.cat([part.unflatten(0, (count, -1)) for part in parts], 1).flatten(0, 1)
            for parts in ((self.pose.linear, other.pose.linear), (self.pose.offset, other.pose.offset))
        )
        side, position, alike = (
            torch.cat(parts, 1)
            for parts in ((self.side, other.side), (self.position, other.position), (self.alike, other.alike))
        )
        return Pairs(side, position, alike, Pose(linear, offset))


class TrainingIndex:
    """The training images, ready to be asked for the one most like a query."""

    def __init__(self, training: Images) -> None:
        """Fit the whitening.

        Args:
            training: uint16 (N, C, *spatial).
        """
        self._thumbnails = thumbnails(training, GRID[training.ndim - 2])
        self._shape = tuple(training.shape[2:])
        self._lay_out()
        self._whole = Whitening.of(standardised(self._thumbnails[self._inner])[0], RIDGE)
        contrast = self._contrast(self._thumbnails)
        self._tiles = []
        for place in self._places:
            tiles, deviation = standardised(self._thumbnails[self._cells(place)])
            self._tiles.append(Whitening.of(tiles[deviation > FLAT_TILE * contrast], TILE_RIDGE))
        self._embed()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` takes."""
        arrays = {
            "shape": torch.tensor(self._shape),
            "thumbnails": self._thumbnails,
            "mean": self._whole.mean,
            "whitening": self._whole.matrix,
            "tile_mean": torch.stack([tile.mean for tile in self._tiles]),
            "tile_whitening": torch.stack([_padded(tile.matrix) for tile in self._tiles]),
        }
        return {name: tensor.numpy() for name, tensor in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """An index that was fitted before."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        index = cls.__new__(cls)
        index._shape = tuple(tensors["shape"].tolist())
        index._thumbnails = tensors["thumbnails"]
        index._whole = Whitening(tensors["mean"], tensors["whitening"])
        index._tiles = list(map(Whitening, tensors["tile_mean"], tensors["tile_whitening"]))
        index._lay_out()
        index._embed()
        return index

    def over(self, images: Images) -> Self:
        """The same comparison of queries, with other images than those it was fitted to: uint16 (n, C, *spatial)."""
        cells = thumbnails(images, GRID[images.ndim - 2]).numpy()
        return self.from_arrays({**self.to_arrays(), "thumbnails": cells})

    def nearest(self, images: Images) -> Likeness:
        """The most similar training image of each query.

        Args:
            images: uint16 (n, C, *spatial).
        """
        found = [self._nearest(images[start : start + BLOCK]) for start in range(0, len(images), BLOCK)]
        return Likeness(*(np.concatenate([getattr(part, name) for part in found])
                          for name in ("whole", "parts", "position")))  # fmt: skip

    def _lay_out(self) -> None:
        dims = len(self._shape)
        grid, margin, tile = GRID[dims], MARGIN[dims], TILE[dims]
        self._inner = inner_window(dims)
        self._places = list(product(range(margin, grid - margin - tile + 1, STRIDE[dims]), repeat=dims))
        self._shifts = list(product(range(-margin, margin + 1), repeat=dims))
        self._frame = Frame(grid, self._shape)
        self._centres = torch.tensor(self._places) + (tile - 1) / 2 - (grid - 1) / 2
        shifts = product(VIEW_SHIFTS[dims], repeat=dims)
        self._views = self._frame.poses([(*view, shift) for shift in shifts for view in VIEWS])

    def _embed(self) -> None:
        """(T, N, RANK) of the training images' tiles."""
        self._embedded = torch.stack(
            [self._embed_tile(number, self._thumbnails, rank=RANK) for number in range(len(self._places))]
        )
        self._embedded_whole = self._whole.told(self._thumbnails[self._inner], VIEW_RANK)

    def _cells(self, place: tuple[int, ...], margin: int = 0) -> Window:
        """The tile at a place, and so many cells around it."""
        tile = TILE[len(place)]
        return (..., *(slice(at - margin, at + tile + margin) for at in place))

    def _embed_tile(self, number: int, images: Tensor, rank: int | None = None) -> Tensor:
        """(n, rank) of length 1, or 0 where the tile tells nothing, so that its cosine with any other is 0."""
        tiles, deviation = standardised(images[self._cells(self._places[number])])
        return self._tiles[number].apply(tiles, rank) * (deviation > FLAT_TILE * self._contrast(images))[:, None]

    def _embed_shifted(self, number: int, images: Tensor, contrast: Tensor) -> Tensor:
        """The leading components (n, S, RANK) of a tile at each shift, as `_embed_tile`.

        Args:
            contrast: (n,) of the images.
        """
        dims = len(self._shape)
        around = images[self._cells(self._places[number], MARGIN[dims])]
        for axis in range(2, 2 + dims):
            around = around.unfold(axis, TILE[dims], 1)  # (n, C, *shifts, *cells)
        tiles = around.movedim(1, 1 + dims).flatten(1, dims).flatten(2)  # (n, S, C x cells)
        values, deviation = standardised(tiles.flatten(0, 1))
        telling = deviation.unflatten(0, tiles.shape[:2]) > FLAT_TILE * contrast[:, None]
        return self._tiles[number].apply(values, RANK).unflatten(0, tiles.shape[:2]) * telling[..., None]

    def _contrast(self, images: Tensor) -> Tensor:
        """(n,) standard deviation of whole images, FLAT at the least: what varies less is rounding."""
        return standardised(images[self._inner])[1].clamp_min(FLAT)

    def _nearest(self, block: np.ndarray) -> Likeness:
        grid = GRID[len(self._shape)]
        fine, coarse = (thumbnails(block, cells) for cells in (FINER[len(self._shape)] * grid, grid))
        fine, coarse = (torch.cat([each, each.flip(-1)]) for each in (fine, coarse))
        contrast = self._contrast(coarse)
        # (T, 2n, S, RANK): each tile of each query and of its mirror image, at each shift.
        tiles = torch.stack([self._embed_shifted(number, coarse, contrast) for number in range(len(self._places))])
        pairs = self._by_tiles(tiles, len(block)).beside(self._by_views(coarse, len(block)))
        whole, parts = (score.reshape(pairs.side.shape) for score in self._compare(fine, coarse, pairs))
        best = torch.maximum(whole, parts).argmax(1, keepdim=True)
        nearest = pairs.position.gather(1, best)[:, 0]
        return Likeness(whole.amax(1).numpy(), parts.amax(1).numpy(), nearest.numpy())

    def _by_tiles(self, tiles: Tensor, count: int) -> Pairs:
        """Of the shortlist, those whose tiles agree on a pose."""
        side, position = self._shortlist(tiles, count)
        cosine = torch.einsum("tbsr,tbr->bts", tiles[:, side], self._embedded[:, position])
        alike, shift = cosine.max(2)
        alike = alike.clamp_min(0).square()
        moved = torch.tensor(self._shifts, dtype=torch.float32)[shift]
        pose, agreed = self._frame.fitted(moved, self._centres, alike.square())
        # Of strangers some tiles are alike, but where they lie does not agree.
        agreed = agreed.reshape(count, -1)
        last = agreed.topk(min(FINALISTS, agreed.shape[1]), 1).indices
        chosen = last + torch.arange(count)[:, None] * agreed.shape[1]
        return Pairs(side[chosen], position[chosen], alike[chosen], pose[chosen.flatten()])

    def _by_views(self, coarse: Tensor, count: int) -> Pairs:
        """Those most like the whole thumbnail, (2n, C, *cells), of a query or of its mirror image, in any view."""
        total = len(self._embedded_whole)
        best = torch.full((2 * count, total), -torch.inf)
        view = torch.zeros(2 * count, total, dtype=torch.long)
        for number in range(len(self._views.offset)):
            seen = self._frame.warped(coarse, self._views[torch.full([2 * count], number)])
            cosine = self._whole.told(seen[self._inner], VIEW_RANK) @ self._embedded_whole.T
            better = cosine > best
            best[better], view[better] = cosine[better], number
        side, position = _most_alike(best, count, BY_VIEWS)
        pose = self._views[view[side, position].flatten()]
        return Pairs(side, position, torch.ones(*side.shape, len(self._places)), pose)

    def _shortlist(self, tiles: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """For each query the training images whose tiles are most like its own.

        Returns:
            Row of the query or of its mirror image, and position of the training image: each (count * K,).
        """
        total = self._embedded.shape[1]
        score = torch.zeros(2 * count, total)
        for start in range(0, total, TRAINING_BLOCK):
            for number, training in enumerate(self._embedded[:, start : start + TRAINING_BLOCK]):
                queries = tiles[number]  # (2n, S, RANK)
                cosine = (queries.flatten(0, 1) @ training.T).unflatten(0, queries.shape[:2]).amax(1)
                # Squares let tiles that are alike count for more than many that are a little alike.
                score[:, start : start + len(training)] += cosine.clamp_min(0).square()
        side, position = _most_alike(score, count, SHORTLIST)
        return side.flatten(), position.flatten()

    def _compare(self, fine: Tensor, coarse: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Register pairs, and take `whole` and `parts` (n * K,) in the better of two poses: the first, the refined one.

        Args:
            fine, coarse: thumbnails of the queries and of their mirror images.
        """
        dims = len(self._shape)
        fine, coarse, first = fine[pairs.side.flatten()], coarse[pairs.side.flatten()], pairs.pose
        training = self._thumbnails[pairs.position.flatten()]
        weights = torch.zeros(len(training), *[GRID[dims]] * dims)
        for place, likeness in zip(self._places, pairs.alike.flatten(0, 1).T, strict=True):
            tile = weights[self._cells(place)]
            torch.maximum(tile, likeness.reshape(-1, *[1] * dims), out=tile)
        pose = self._frame.refined(training, coarse, weights, first)
        pose = pose.or_else(pose.within(MARGIN[dims] + 1, 0.2), first)
        whole, parts = [], []
        for each in (first, pose):
            seen = self._frame.warped(fine, each)
            back = self._frame.warped(training, each.inverse())
            # In the frame of one that lies off the middle, both do, which is alike in itself: the lower of the two.
            whole.append(torch.minimum(self._alike(seen, training), self._alike(back, coarse)))
            parts.append(self._parts_alike(seen, training))
        return torch.stack(whole).amax(0), torch.stack(parts).amax(0)

    def _alike(self, one: Tensor, other: Tensor) -> Tensor:
        """(B,) cosine of whole thumbnails, whitened."""
        a, b = (self._whole.told(each[self._inner]) for each in (one, other))
        return (a * b).sum(1)

    def _parts_alike(self, seen: Tensor, training: Tensor) -> Tensor:
        """(B,) mean cosine of the better half of the tiles that tell something in both."""
        pairs = [[self._embed_tile(number, each) for each in (seen, training)] for number in range(len(self._places))]
        cosine = torch.stack([(a * b).sum(1) for a, b in pairs], 1)
        telling = torch.stack([(a != 0).any(1) & (b != 0).any(1) for a, b in pairs], 1).sum(1)
        half = ((telling + 1) // 2).clamp_min(FEWEST_TILES)
        best = cosine.sort(1, descending=True).values.cumsum(1).gather(1, half[:, None] - 1)[:, 0] / half
        return best


def _most_alike(score: Tensor, count: int, most: int) -> tuple[Tensor, Tensor]:
    """The training images most like a query or its mirror image, from scores (2n, N): rows and positions (n, K)."""
    total = score.shape[1]
    chosen = torch.cat(score.split(count), 1).topk(min(most, total), 1).indices
    side = torch.div(chosen, total, rounding_mode="floor") * count + torch.arange(count)[:, None]
    return side, chosen % total


def _padded(matrix: Tensor) -> Tensor:
    """(D, R) → (D, D); columns of zeros tell nothing."""
    return F.pad(matrix, (0, matrix.shape[0] - matrix.shape[1]))
