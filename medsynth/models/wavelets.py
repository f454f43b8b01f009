"""Orthonormal transforms between an image and the network's input: lossless, without parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONV = {2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


def haar_patch(levels: int, spatial_dims: int) -> Tensor:
    """The orthonormal Haar pyramid of one patch (Mallat 1989): only the average of a level is split further.

    Returns:
        (P, P) float64 with P = 2^(levels * spatial_dims); rows are basis functions, from coarse to fine.
    """
    side = 2**levels
    pixels = torch.eye(side**spatial_dims, dtype=torch.float64)
    return _haar_pyramid(pixels.view(-1, *[side] * spatial_dims)).T


def _haar_pyramid(x: Tensor) -> Tensor:
    """(N, side, ..., side) → (N, side^d)."""
    if x[0].numel() == 1:
        return x.flatten(1)
    bands = x[:, None]
    for axis in range(2, bands.ndim):
        even, odd = bands.unflatten(axis, (-1, 2)).unbind(axis + 1)
        bands = torch.cat([even + odd, even - odd], 1) / 2**0.5
    return torch.cat([_haar_pyramid(bands[:, 0]), bands[:, 1:].flatten(1)], 1)


def identity_patch(levels: int, spatial_dims: int) -> Tensor:
    """Pixel-unshuffle (Shi et al. 2016): the patch's pixels become channels."""
    return torch.eye(2 ** (levels * spatial_dims), dtype=torch.float64)


PATCHES: dict[str, Callable[[int, int], Tensor]] = {
    "identity": lambda levels, spatial_dims: identity_patch(0, spatial_dims),
    "pixel_unshuffle": identity_patch,
    "haar": haar_patch,
}


# Brightness, red against blue, and green against both: orthonormal, near the principal axes of photographs
# (Ohta, Kanade & Sakai 1980).
OPPONENTS = ((1, 1, 1), (1, 0, -1), (-1, 2, -1))


class Opponents(nn.Module):
    """Brightness and two opponent colours in the place of red, green and blue; grey images stay as they are."""

    def __init__(self, image_channels: int, spatial_dims: int) -> None:
        super().__init__()
        colour = image_channels == len(OPPONENTS)
        matrix = torch.tensor(OPPONENTS, dtype=torch.float64) if colour else torch.eye(image_channels).double()
        matrix = matrix / matrix.norm(dim=1, keepdim=True)
        self.spatial_dims = spatial_dims
        self.kernel: Tensor
        self.register_buffer("kernel", matrix.float().view(*matrix.shape, *[1] * spatial_dims), persistent=False)

    def encode(self, image: Tensor) -> Tensor:
        """(N, C, *spatial) → the same shape."""
        return image if len(self.kernel) == 1 else CONV[self.spatial_dims](image, self.kernel)

    def decode(self, opponents: Tensor) -> Tensor:
        """The exact inverse of `encode`, up to rounding."""
        return opponents if len(self.kernel) == 1 else CONV_TRANSPOSE[self.spatial_dims](opponents, self.kernel)


class Codec(nn.Module):
    """Maps each patch of the image to channels by an orthonormal matrix.

    Attributes:
        factor: downsampling factor of each spatial axis.
        channels: channels after encoding.
    """

    def __init__(self, kind: str, levels: int, image_channels: int, spatial_dims: int) -> None:
        super().__init__()
        matrix = PATCHES[kind](levels, spatial_dims)
        self.factor = round(len(matrix) ** (1 / spatial_dims))
        self.spatial_dims = spatial_dims
        self.image_channels = image_channels
        self.channels = len(matrix) * image_channels
        kernel = matrix.float().view(len(matrix), 1, *[self.factor] * spatial_dims)
        self.kernel: Tensor
        self.register_buffer("kernel", kernel.repeat(image_channels, *[1] * (spatial_dims + 1)), persistent=False)

    def encode(self, image: Tensor) -> Tensor:
        """(N, C, *spatial) → (N, C * factor^d, *spatial / factor); bands of one image channel stay together."""
        return CONV[self.spatial_dims](image, self.kernel, stride=self.factor, groups=self.image_channels)

    def decode(self, bands: Tensor) -> Tensor:
        """The exact inverse of `encode`, up to rounding."""
        return CONV_TRANSPOSE[self.spatial_dims](bands, self.kernel, stride=self.factor, groups=self.image_channels)


class Pyramid(nn.Module):
    """An image as averages of ever lower resolution and the details between them (Mallat 1989), coarse to fine.

    The coarsest average goes through the codec; each later level holds the Haar details that double the resolution.
    With opponents, all of them are of brightness and opponent colours: what is grey in one model is the brightness of
    another.

    Attributes:
        factors: downsampling factor of each level.
        bands: channels of each level.
    """

    def __init__(self, codec: Codec, levels: int, opponents: bool = False) -> None:
        super().__init__()
        image_channels, spatial_dims = codec.image_channels, codec.spatial_dims
        self.codec = codec
        self.opponents = Opponents(image_channels, spatial_dims) if opponents else None
        self.haar = Codec("haar", 1, image_channels, spatial_dims)
        self.mean = 2.0 ** (spatial_dims / 2)  # the orthonormal average of a patch over its mean
        details = self.haar.channels - image_channels
        doublings = range(levels - 1, 0, -1)
        self.factors = (self.codec.factor * 2 ** len(doublings), *(2**level for level in doublings))
        self.bands = (self.codec.channels, *[details] * len(doublings))

    def encode(self, image: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """(N, C, *spatial) → the bands of each level, coarse to fine, and the coarser average that they refine."""
        found: list[tuple[Tensor, Tensor | None]] = []
        image = self._from_image(image)
        for _ in self.bands[1:]:
            bands, image = self._split(image)
            found.append((bands, image))
        return [(self.codec.encode(image), None), *reversed(found)]

    def bands_of(self, level: int, average: Tensor) -> Tensor:
        """The bands of one level, from the average at its resolution, as `decode` gives it."""
        return self._split(average)[0] if level else self.codec.encode(average)

    def _split(self, average: Tensor) -> tuple[Tensor, Tensor]:
        """Haar details, and the average at half of the resolution."""
        split = self.haar.encode(average).unflatten(1, (self.haar.image_channels, -1))
        return split[:, :, 1:].flatten(1, 2), split[:, :, 0] / self.mean

    def decode(self, bands: Tensor, coarse: Tensor | None) -> Tensor:
        """Inverse of one level of `encode`: from bands and the coarser average to the average at that resolution."""
        if coarse is None:
            return self.codec.decode(bands)
        details = bands.unflatten(1, (self.haar.image_channels, -1))
        return self.haar.decode(torch.cat([self.mean * coarse[:, :, None], details], 2).flatten(1, 2))

    def to_image(self, average: Tensor) -> Tensor:
        """What `decode` gives, of any level, as an image (N, C, *spatial)."""
        return average if self.opponents is None else self.opponents.decode(average)

    def _from_image(self, image: Tensor) -> Tensor:
        return image if self.opponents is None else self.opponents.encode(image)

    def clamp(self, average: Tensor) -> Tensor:
        """What `decode` gives with every value of its image in [-1, 1]."""
        return self._from_image(self.to_image(average).clamp(-1, 1))
