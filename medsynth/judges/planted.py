"""Copies of training images, changed in known ways: what a search for copies finds of them is its recall.

The changes are drawn from a seed and know nothing of how the search works. What is not copied comes from held-out
images, which the limits of the search were not taken from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from medsynth.artifacts.shards import Images
from medsynth.judges.thumbnails import Window

MOST = 65535


class Plant(NamedTuple):
    """What a change is made of: float32 (n, C, *spatial) in [0, 1], and what it draws from.

    Attributes:
        images: to be copied; others: as many held-out ones.
    """

    images: Tensor
    others: Tensor
    rng: np.random.Generator

    def sign(self) -> float:
        return float(self.rng.choice((-1.0, 1.0)))


def planted(
    training: Images, held_out: Images, count: int, seed: Sequence[int], kinds: Iterable[str] | None = None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Copies of every kind, or of some.

    Args:
        training, held_out: uint16 (n, C, *spatial).
        count: of copies of each kind; each training image is copied once at most.
        seed: numbers that decide which images are copied, and how.
        kinds: of KINDS; all if None.
    Yields:
        Its name, changed copies, uint16 (m, C, *spatial), and the positions (m,) of what they copy.
    """
    for number, (kind, change) in enumerate(KINDS.items()):
        if kinds is not None and kind not in kinds:
            continue
        rng = np.random.default_rng((*seed, number))
        rows = rng.permutation(len(training))[:count]
        others = rng.permutation(len(held_out))[np.arange(len(rows)) % len(held_out)]
        plant = Plant(_pixels(training[rows]), _pixels(held_out[others]), rng)
        yield kind, (change(plant).clamp(0, 1) * MOST).round().numpy().astype(np.uint16), rows


def _pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.astype(np.float32)) / MOST


def _mirrored(plant: Plant) -> Tensor:
    return plant.images.flip(-1)


def _gamma(plant: Plant) -> Tensor:
    return plant.images ** float(plant.rng.choice((0.7, 1.4)))


def _noisy(plant: Plant) -> Tensor:
    return plant.images + 0.05 * torch.from_numpy(plant.rng.standard_normal(plant.images.shape, np.float32))


def _blurred(plant: Plant) -> Tensor:
    width = plant.images.shape[-1] / 64
    return torch.from_numpy(gaussian_filter(plant.images.numpy(), (0, 0, *[width] * (plant.images.ndim - 2))))


def _moved(images: Tensor, degrees: float = 0.0, scale: float = 1.0, shift: tuple[float, ...] = ()) -> Tensor:
    """Turn in the plane of the last two axes, enlarge, and shift by shares of each axis, x first."""
    dims = images.ndim - 2
    theta = torch.zeros(dims, dims + 1)
    theta[:, :dims] = torch.eye(dims) / scale
    turn = math.radians(degrees)
    oblong = images.shape[-2] / images.shape[-1]  # an angle holds in pixels
    theta[:2, :2] = torch.tensor(
        [[math.cos(turn), -math.sin(turn) * oblong], [math.sin(turn) / oblong, math.cos(turn)]]
    ) / scale  # fmt: skip
    theta[:, dims] = 2 * torch.tensor(shift or (0.0,) * dims)
    grid = F.affine_grid(theta.expand(len(images), -1, -1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _each(plant: Plant, change: Callable[[Plant], Tensor]) -> Tensor:
    """A change that is drawn anew for every image."""
    return torch.cat(
        [change(Plant(image[None], other[None], plant.rng)) for image, other in zip(*plant[:2], strict=True)]
    )


def _turned(plant: Plant) -> Tensor:
    return _moved(plant.images, degrees=5 * plant.sign())


def _scaled(plant: Plant) -> Tensor:
    return _moved(plant.images, scale=1.1 ** plant.sign())


def _shifted(plant: Plant, share: float = 0.1) -> Tensor:
    return _moved(plant.images, shift=tuple(share * plant.sign() for _ in range(plant.images.ndim - 2)))


def _two_thirds(plant: Plant) -> Tensor:
    """The last third along one axis, or the first one, is another image's."""
    axis = int(plant.rng.integers(2, plant.images.ndim))
    side = plant.images.shape[axis]
    start = int(plant.rng.choice((0, side - side // 3)))
    pasted = plant.images.clone()
    pasted.narrow(axis, start, side // 3).copy_(plant.others.narrow(axis, start, side // 3))
    return pasted


def _two_thirds_shifted(plant: Plant) -> Tensor:
    return _two_thirds(plant._replace(images=_shifted(plant, 0.05)))


def _transplanted(plant: Plant) -> Tensor:
    """A block of a quarter of each side, in the same place of another image."""
    sides = plant.images.shape[2:]
    starts = [int(plant.rng.integers(side // 8, side - side // 4 - side // 8 + 1)) for side in sides]
    block: Window = (..., *(slice(start, start + side // 4) for start, side in zip(starts, sides, strict=True)))
    pasted = plant.others.clone()
    pasted[block] = plant.images[block]
    return pasted


def _drawn(change: Callable[[Plant], Tensor]) -> Callable[[Plant], Tensor]:
    return lambda plant: _each(plant, change)


# Group of `copy_recall` → how it is made.
KINDS: dict[str, Callable[[Plant], Tensor]] = {
    "exact": lambda plant: plant.images,
    "mirrored": _mirrored,
    "gamma 0.7 or 1.4": _drawn(_gamma),
    "noise of 5 %": _noisy,
    "blurred": _blurred,
    "turned 5°": _drawn(_turned),
    "scaled 10 %": _drawn(_scaled),
    "shifted 10 %": _drawn(_shifted),
    "two thirds copied": _drawn(_two_thirds),
    "two thirds copied, shifted 5 %": _drawn(_two_thirds_shifted),
    "lesion transplanted": _drawn(_transplanted),
}
# Kind → the share of its copies that a screening must find. The others are told of, and may be missed.
WANTED = {
    **dict.fromkeys(
        ("exact", "mirrored", "gamma 0.7 or 1.4", "noise of 5 %", "turned 5°", "scaled 10 %", "shifted 10 %"), 0.95
    ),
    "two thirds copied": 0.8,
}
