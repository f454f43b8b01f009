"""Images of different subjects that show the same: re-saved, or slightly cropped, shifted, turned, brightened.

Every image is compared with every other by the leading components of its whitened thumbnail, at shifts of a cell each
way, in blocks: time grows with the square of their number, memory does not. The NEAREST of other subjects are then
registered with it and compared by the whole whitened thumbnail, as copies of training images are.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from medsynth.artifacts.shards import Images
from medsynth.judges.registration import Frame, Pose
from medsynth.judges.strangers import stranger_limit
from medsynth.judges.thumbnails import GRID, MARGIN, RIDGE, Whitening, standardised, thumbnails

NEAREST = 3
RANK = 64  # leading components that the first comparison looks at
FITTED = 4096  # images that the whitening is fitted to
ASKED = 1024  # images whose likeness to strangers is taken
AMONG = 16  # one image in so many is such a stranger
EXPECTED = 0.05  # pairs of strangers, in a whole collection, that are taken for duplicates
BLOCK, OTHERS = 128, 4096  # images that are compared at once


class Neighbours:
    """A collection whose images are compared with one another."""

    def __init__(self, images: Images, subjects: np.ndarray, seed: int = 0) -> None:
        """Take thumbnails and fit their whitening.

        Args:
            images: uint16 (n, C, *spatial).
            subjects: (n,) whose they are; images of one subject are not compared.
        """
        dims = images.ndim - 2
        self._dims, self._frame = dims, Frame(GRID[dims], images.shape[2:])
        self._thumbnails = (thumbnails(images, GRID[dims]) / 65535).half()
        self._subjects = torch.from_numpy(np.unique(subjects, return_inverse=True)[1])
        self._order = np.random.default_rng(seed).permutation(len(images))
        some = np.sort(self._order[:FITTED])
        self._white = Whitening.of(standardised(self._window(torch.from_numpy(some)))[0], RIDGE)

    def duplicates(self, limit: float | None = None) -> tuple[np.ndarray, np.ndarray, float]:
        """Pairs of different subjects that are more alike than strangers are.

        Args:
            limit: likeness above which a pair is one; None takes it from the collection (`limit`).
        Returns:
            (pairs, 2) positions, the lower one first; (pairs,) likeness; and the limit.
        """
        limit = self.limit() if limit is None else limit
        everyone = torch.arange(len(self._subjects))
        images, others, shift = self._nearest(everyone, everyone)
        likeness = self._compared(images, others, shift).numpy()
        pairs = np.stack([np.minimum(images, others), np.maximum(images, others)], 1)
        chosen = likeness > limit
        pairs, first = np.unique(pairs[chosen], axis=0, return_index=True)
        return pairs, likeness[chosen][first], limit

    def limit(self) -> float:
        """The likeness that strangers of a collection of this size exceed EXPECTED times, as `strangers` estimates.

        Taken from each image's nearest among a random sixteenth, since in a collection of neighbouring slices the
        nearest of all is mostly no stranger.
        """
        count = len(self._subjects)
        asked = torch.from_numpy(np.sort(self._order[:ASKED]))
        among = torch.from_numpy(np.sort(self._order[::AMONG]))
        images, others, shift = self._nearest(asked, among)
        nearest = torch.full((count,), -torch.inf)
        nearest.scatter_reduce_(0, images, self._compared(images, others, shift), "amax")
        found = nearest[nearest > -torch.inf].numpy()
        return stranger_limit(found, EXPECTED / count, count / len(among))

    def _window(self, rows: Tensor, shift: tuple[int, ...] | None = None) -> Tensor:
        margin, cells = MARGIN[self._dims], GRID[self._dims]
        window = (slice(margin + by, cells - margin + by) for by in shift or (0,) * self._dims)
        return self._thumbnails[rows][(..., *window)].float()

    def _embedded(self, rows: Tensor, shift: tuple[int, ...] | None = None) -> Tensor:
        return self._white.apply(standardised(self._window(rows, shift))[0], RANK)

    def _nearest(self, rows: Tensor, among: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The most alike of other subjects.

        Returns:
            Images, those like them, and the shift (pairs, d) in cells: at most NEAREST for each of `rows`.
        """
        shifts = torch.tensor(list(product((-1, 0, 1), repeat=self._dims)))
        found = []
        for part in rows.split(BLOCK):
            queries = torch.stack([self._embedded(part, tuple(shift)) for shift in shifts.tolist()])
            kept: list[tuple[Tensor, Tensor, Tensor]] = []
            for others in among.split(OTHERS):
                cosine, best = (queries @ self._embedded(others).T).max(0)  # (rows, others)
                cosine[self._subjects[part][:, None] == self._subjects[others]] = -torch.inf
                value, place = cosine.topk(min(NEAREST, len(others)), 1)
                kept.append((value, others[place], best.gather(1, place)))
            value, other, by = (torch.cat(parts, 1) for parts in zip(*kept, strict=True))
            value, place = value.topk(min(NEAREST, value.shape[1]), 1)
            real = value > -torch.inf
            found.append(
                (part[:, None].expand_as(place)[real], other.gather(1, place)[real], by.gather(1, place)[real])
            )
        images, others, by = (torch.cat(parts) for parts in zip(*found, strict=True))
        return images, others, shifts[by]

    def _compared(self, images: Tensor, others: Tensor, shift: Tensor) -> Tensor:
        """(pairs,) cosine of the whitened thumbnails after registration."""
        likeness = torch.empty(len(images))
        for start in range(0, len(images), BLOCK):
            part = slice(start, start + BLOCK)
            likeness[part] = self._registered(images[part], others[part], shift[part])
        return likeness

    def _registered(self, images: Tensor, others: Tensor, shift: Tensor) -> Tensor:
        margin, cells = MARGIN[self._dims], GRID[self._dims]
        inner = (..., *[slice(margin, cells - margin)] * self._dims)
        query, template = self._thumbnails[images].float(), self._thumbnails[others].float()
        weights = torch.zeros(len(images), *[cells] * self._dims)
        weights[inner] = 1.0
        start = Pose(torch.eye(self._dims).expand(len(images), -1, -1), shift.float())
        refined = self._frame.refined(template, query, weights, start)
        refined = refined.or_else(refined.within(margin + 1, 0.2), start)
        goal = self._white.apply(standardised(template[inner])[0])
        seen = [self._frame.warped(query, pose)[inner] for pose in (start, refined)]
        return torch.stack([(self._white.apply(standardised(each)[0]) * goal).sum(1) for each in seen]).amax(0)
