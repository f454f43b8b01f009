"""Images of different subjects that show the same: re-saved, or slightly cropped, shifted, turned, brightened.

Every image is compared with every other by the leading components of its whitened thumbnail, at shifts of a cell each
way, in blocks: time grows with the square of their number, memory does not. The NEAREST of other subjects are then
registered with it and compared by the whole whitened thumbnail, as copies of training images are. Images that were
found alike are then asked once more for the nearest outside their group, until there is none or ROUNDS are over: of a
patient with many slices, the nearest alone would not find all.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from medsynth.artifacts.shards import Images
from medsynth.judges.registration import Frame, Pose
from medsynth.judges.strangers import stranger_limit
from medsynth.judges.thumbnails import GRID, MARGIN, RIDGE, Whitening, inner_window, standardised, thumbnails

NEAREST = 3
ROUNDS = 5
FEWEST = 20  # images that say how like strangers are
RANK = 64  # leading components that the first comparison looks at
FITTED = 4096  # images that the whitening is fitted to
ASKED = 1024  # images whose likeness to strangers is taken
AMONG = 16  # strangers that each is compared with for that
LEAST, MOST = 0.75, 0.98  # the limit lies between: small collections say little, an image saved again is more alike
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
        self._thumbnails = thumbnails(images, GRID[dims]).half()
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
        asked = everyone = torch.arange(len(self._subjects))
        groups = self._subjects
        found: dict[tuple[int, ...], float] = {}
        for _ in range(ROUNDS):
            images, others, shift = self._nearest(asked, everyone, groups)
            likeness = self._compared(images, others, shift)
            alike = likeness > limit
            if not alike.any():
                break
            ends = torch.stack([images, others], 1)[alike].sort(1).values
            found |= {tuple(pair): like for pair, like in zip(ends.tolist(), likeness[alike].tolist(), strict=True)}
            groups = _joined(groups, ends)
            asked = torch.from_numpy(np.unique(list(found)))
        pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        return pairs, np.array([found[tuple(pair)] for pair in pairs.tolist()]), limit

    def limit(self) -> float:
        """The likeness that strangers of a collection of this size exceed EXPECTED times, as `strangers` estimates.

        Taken from each image's nearest among AMONG that are drawn at random, since in a collection of neighbouring
        slices the nearest of all is mostly no stranger.
        """
        count = len(self._subjects)
        rng = np.random.default_rng(count)
        asked = torch.from_numpy(np.sort(self._order[:ASKED]))
        nearest = []
        for part in asked.split(BLOCK // 4):
            among = torch.from_numpy(rng.choice(count, min(AMONG, count), replace=False))
            images, others, shift = self._nearest(part, among, self._subjects)
            likeness = self._compared(images, others, shift)
            nearest += [likeness[images == image].max() for image in images.unique()]
        if len(nearest) < FEWEST:
            return MOST
        found = stranger_limit(torch.stack(nearest).numpy(), AMONG, EXPECTED / count, count)
        return float(np.clip(found, LEAST, MOST))

    def _window(self, rows: Tensor, shift: tuple[int, ...] | None = None) -> Tensor:
        return self._thumbnails[rows][inner_window(self._dims, shift)].float()

    def _embedded(self, rows: Tensor, shift: tuple[int, ...] | None = None) -> Tensor:
        return self._white.told(self._window(rows, shift), RANK)

    def _nearest(self, rows: Tensor, among: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The most alike of other groups.

        Args:
            groups: (n,) of all images.
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
                cosine[groups[part][:, None] == groups[others]] = -torch.inf
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
        inner = inner_window(self._dims)
        query, template = self._thumbnails[images].float(), self._thumbnails[others].float()
        weights = torch.zeros(len(images), *[GRID[self._dims]] * self._dims)
        weights[inner] = 1.0
        start = Pose(torch.eye(self._dims).expand(len(images), -1, -1), shift.float())
        refined = self._frame.refined(template, query, weights, start)
        refined = refined.or_else(refined.within(MARGIN[self._dims] + 1, 0.2), start)
        told = [self._white.told(each[inner]) for each in (template, query)]
        found = []
        for pose in (start, refined):
            # In the frame of one that lies off the middle, both do, which is alike in itself: the lower of the two.
            seen = self._frame.warped(query, pose), self._frame.warped(template, pose.inverse())
            both = [(self._white.told(each[inner]) * other).sum(1) for each, other in zip(seen, told, strict=True)]
            found.append(torch.stack(both).amin(0))
        return torch.stack(found).amax(0)


def _joined(groups: Tensor, pairs: Tensor) -> Tensor:
    """Groups (n,) after those of each pair (m, 2) of images have become one."""
    ends = groups[pairs].numpy()
    count = int(groups.max()) + 1
    edges = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return torch.from_numpy(connected_components(edges, directed=False)[1].astype(np.int64))[groups]
