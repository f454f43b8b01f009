"""Decoding in tiles: the image of the whole latent, for less memory at once.

Each tile is decoded with the places around it that its values depend on, and group normalisation has the statistics of
the whole image, which are added up over the tiles one layer after another. Windows that are each normalised by
themselves and blended, as by MONAI's SlidingWindowInferer, would show in the brightness of the tiles.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn

from medsynth.errors import is_out_of_memory
from medsynth.machine.devices import free_on
from medsynth.machine.memory import GIB, SHARE, peak_bytes
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import ALL
from medsynth.models.vae.coder import Decoder

log = logging.getLogger(__name__)

Slices = tuple[slice, ...]
LEAST_SIDE = 4  # of a tile that is chosen here: what is around it is as large


@dataclass(frozen=True)
class Tile:
    """A part of a grid.

    Attributes:
        core: where the tile lies; the cores of all tiles cover the grid once.
        around: the same with what its values depend on.
    """

    core: Slices
    around: Slices

    def inner(self, factor: int) -> Slices:
        """The core within `around`, where both have `factor` times the resolution of the grid."""
        pairs = zip(self.core, self.around, strict=True)
        return tuple(slice((c.start - a.start) * factor, (c.stop - a.start) * factor) for c, a in pairs)


def scaled(slices: Slices, factor: int) -> Slices:
    """The same part of a grid of `factor` times the resolution."""
    return tuple(slice(part.start * factor, part.stop * factor) for part in slices)


def tiles_of(grid: tuple[int, ...], side: int, halo: int) -> Iterator[Tile]:
    """Cut a grid into tiles of at most `side` places along each axis, `halo` places of context on each side."""
    for starts in product(*(range(0, extent, side) for extent in grid)):
        core = tuple(slice(start, min(start + side, extent)) for start, extent in zip(starts, grid, strict=True))
        around = zip(core, grid, strict=True)
        yield Tile(core, tuple(slice(max(0, c.start - halo), min(extent, c.stop + halo)) for c, extent in around))


def decode(decoder: Decoder, latent: Tensor, conditioning: Conditioning, side: int | Literal["auto"]) -> Tensor:
    """Images (N, C, *spatial) of latents (N, L, *grid).

    Args:
        side: of a tile, in places of the latent; auto decodes all images whole where that fits into what is free on the
            device, else one image after another, else each in the largest tiles that fit.
    """
    if side != "auto":
        return one_by_one(decoder, latent, conditioning, side)
    limit = SHARE * free_on(latent.device)
    attempts: list[Callable[[], Tensor]] = [partial(decoder, latent, conditioning)]
    sides = [max(latent.shape[2:])]
    while sides[-1] > LEAST_SIDE:
        sides.append(math.ceil(sides[-1] / 2))
    attempts += [partial(one_by_one, decoder, latent, conditioning, each) for each in sides]
    for attempt in attempts[:-1]:
        if (images := _within(limit, attempt)) is not None:
            return images
    return attempts[-1]()


def _within(limit: float, work: Callable[[], Tensor]) -> Tensor | None:
    """What `work` makes; None where its tensors would take more than `limit` bytes at once."""
    made: list[Tensor] = []
    try:
        with torch.compiler.set_stance("force_eager"):  # compiled code would hide its tensors
            peak_bytes(lambda: made.append(work()), limit)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        log.info("decoding: %.3g GiB are free, which is too little for the whole: in smaller parts", limit / GIB)
        return None
    return made[0]


@torch.no_grad()
def one_by_one(decoder: Decoder, latent: Tensor, conditioning: Conditioning, side: int) -> Tensor:
    """Each image in tiles."""
    parts = [slice(number, number + 1) for number in range(len(latent))]
    return torch.cat([in_tiles(decoder, latent[part], conditioning[part], side) for part in parts])


def in_tiles(decoder: Decoder, latent: Tensor, conditioning: Conditioning, side: int) -> Tensor:
    """The images of latents (N, L, *grid), in tiles of so many places a side."""
    if side >= max(latent.shape[2:]):
        return decoder(latent, conditioning)
    factor, told = 2**decoder.halvings, decoder.told(conditioning)
    x = decoder.begin(latent, conditioning.planes)
    tiles = list(tiles_of(tuple(latent.shape[2:]), side, decoder.reach))
    image = latent.new_empty(
        len(latent), decoder.haar.image_channels, *(extent * factor for extent in latent.shape[2:])
    )
    with shared_statistics(decoder) as statistics:
        done = False
        while not done:
            done = True
            for tile in tiles:
                statistics.tile = tile
                coarse, fine = (*ALL, *tile.around), (*ALL, *scaled(tile.around, factor))
                try:
                    made = decoder.finish(x[coarse], latent[coarse], told, conditioning.planes[fine], fine)
                except _NotYetKnownError:
                    done = False
                    continue
                image[(*ALL, *scaled(tile.core, factor))] = made[(*ALL, *tile.inner(factor))]
            statistics.settle()
    return image


class _NotYetKnownError(Exception):
    """The statistics of a layer are not complete yet."""


class _Statistics:
    """Mean and variance of each group of channels, for each group normalisation, over all tiles.

    Attributes:
        tile: the one that is decoded.
    """

    def __init__(self) -> None:
        self.tile = Tile((), ())
        self.known: dict[nn.GroupNorm, tuple[Tensor, Tensor]] = {}
        self.sums: dict[nn.GroupNorm, tuple[Tensor, Tensor, int]] = {}

    def normalise(self, norm: nn.GroupNorm, x: Tensor) -> Tensor:
        """(N, C, *spatial) of a tile, normalised like the whole.

        Raises:
            _NotYetKnownError: the tile is added to the sums.
        """
        if norm not in self.known:
            self._add(norm, x)
            raise _NotYetKnownError
        mean, deviation = self.known[norm]  # (N, G, 1)
        weight, bias = (parameter.view(1, norm.num_groups, -1) for parameter in (norm.weight, norm.bias))
        scale = weight / deviation
        shift = bias - mean * scale
        scale, shift = (part.flatten(1).view(len(x), -1, *[1] * (x.ndim - 2)) for part in (scale, shift))
        return torch.addcmul(shift, x.float(), scale).to(x.dtype)

    def _add(self, norm: nn.GroupNorm, x: Tensor) -> None:
        around = self.tile.around[0]
        core = x[(*ALL, *self.tile.inner(x.shape[2] // (around.stop - around.start)))]
        values = core.double().flatten(2).unflatten(1, (norm.num_groups, -1)).flatten(2)  # (N, G, values)
        total, squares, count = self.sums.get(norm, (0, 0, 0))
        self.sums[norm] = (total + values.sum(2), squares + values.square().sum(2), count + values.shape[2])

    def settle(self) -> None:
        """Take what was added up in a round over all tiles as known."""
        for norm, (total, squares, count) in self.sums.items():
            mean = total / count
            deviation = (squares / count - mean.square()).clamp(min=0).add(norm.eps).sqrt()
            self.known[norm] = (mean.float()[..., None], deviation.float()[..., None])
        self.sums = {}


@contextmanager
def shared_statistics(decoder: Decoder) -> Iterator[_Statistics]:
    """Group normalisation within the block goes by the statistics of all tiles."""
    statistics = _Statistics()
    of_tiles = [
        norm for norm in decoder.modules() if isinstance(norm, nn.GroupNorm) and norm is not decoder.attention.norm
    ]
    for norm in of_tiles:
        vars(norm)["forward"] = partial(statistics.normalise, norm)  # shadows that of its class
    try:
        yield statistics
    finally:
        for norm in of_tiles:
            del norm.forward
