"""The reader's network: a trunk that looks at the image, and a last layer for each field.

Two trunks: one trained from nothing (images and volumes), and EfficientNet-Lite0 with its ImageNet weights (images of
one or three channels), of which the late blocks learn on. Which of them reads a collection better, validation says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medsynth.conditions.kind import Features
from medsynth.conditions.planes import grid_centres
from medsynth.conditions.schema import ConditionSchema
from medsynth.judges.features import efficientnet

PATCH = 4  # pixels a side of a position of the grid
NARROW = 32  # channels of the grid
WIDTHS = (64, 96, 128)  # of the coarser levels, each half as fine as the one before
COARSEST = 8  # positions a side below which no level is added

FROZEN = 11  # blocks of EfficientNet-Lite0 that keep their weights: five stages of seven, down to stride 16
TAPS = (2, 4, 10, 15)  # blocks whose output the grid sees: strides 4, 8, 16 and 32
TAP_CHANNELS = (24, 40, 112, 320)
DEEPEST = 1280
SMALLEST = 32  # pixels a side, of which its last stages see one position


class Residual(nn.Module):
    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels, spatial_dims)
        self.second = _conv(channels, channels, spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


def _conv(channels_in: int, channels_out: int, spatial_dims: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    return nn.Sequential(
        conv(channels_in, channels_out, size, stride=stride, padding=size // 2, bias=False), norm(channels_out)
    )


class FromNothing(nn.Module):
    """Images (N, C, *spatial) → the grid (N, NARROW, *spatial / PATCH), and coarser levels of it."""

    rate, epochs = 3e-3, 1.0

    def __init__(self, channels: int, size: Sequence[int]) -> None:
        super().__init__()
        dims = len(size)
        self.first = nn.Sequential(_conv(channels * PATCH**dims, NARROW, dims), nn.ReLU(), Residual(NARROW, dims))
        narrower, coarser = [NARROW], []
        for level, width in enumerate(WIDTHS):
            if level and max(size) / PATCH / 2 ** (level + 1) < COARSEST:
                break
            coarser.append(nn.Sequential(_conv(narrower[-1], width, dims, stride=2), nn.ReLU(), Residual(width, dims)))
            narrower.append(width)
        self.coarser = nn.ModuleList(coarser)
        self.level_channels = tuple(narrower[1:])
        self.pooled = narrower[-1]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        x = grid = self.first(_patches(x))
        levels = [x := level(x) for level in self.coarser]
        return grid, levels, levels[-1]


def _patches(x: Tensor) -> Tensor:
    """Fold PATCH pixels of each side into channels: (N, C, *spatial) → (N, C PATCH^dims, *grid)."""
    dims = x.ndim - 2
    x = x.reshape(*x.shape[:2], *[part for extent in x.shape[2:] for part in (extent // PATCH, PATCH)])
    x = x.permute(0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)).flatten(1, 1 + dims)
    return x.contiguous(memory_format=torch.channels_last) if dims == 2 else x.contiguous()


class ImageNet(nn.Module):
    """The same of EfficientNet-Lite0 (Tan & Le 2019); its first stages and normalisation statistics are kept."""

    rate, epochs = 1e-3, 0.3

    def __init__(self, channels: int, size: Sequence[int]) -> None:
        super().__init__()
        network = efficientnet()
        network._fc = nn.Identity()
        _normalise_in_convolutions(network)
        for frozen in (network._conv_stem, *network._blocks[:FROZEN]):
            frozen.requires_grad_(False)
        self.network = network
        self.first = nn.Sequential(_conv(TAP_CHANNELS[0], NARROW, 2), nn.ReLU())
        self.level_channels = TAP_CHANNELS[1:]
        self.pooled = DEEPEST

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        net = self.network
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        taps = []
        with torch.no_grad():
            x = net._swish(net._conv_stem(x))
            for number, block in enumerate(net._blocks[:FROZEN]):
                x = block(x)
                taps += [x] if number in TAPS else []
        for number, block in enumerate(net._blocks[FROZEN:], FROZEN):
            x = block(x)
            taps += [x] if number in TAPS else []
        return self.first(taps[0]), taps[1:], net._swish(net._conv_head(x))


def _normalise_in_convolutions(network: nn.Module) -> None:
    """Put each batch normalisation, as it is in evaluation, and each even padding into its convolution: less to do."""
    for module in network.modules():
        convolution = ""
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), child))
                setattr(module, name, nn.Identity())
            convolution = name
        padding = getattr(module, "static_padding", None)
        if isinstance(module, nn.Conv2d) and isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            module.padding = padding.padding[:2]
            module.static_padding = nn.Identity()


TRUNKS: dict[str, type[FromNothing] | type[ImageNet]] = {"scratch": FromNothing, "imagenet": ImageNet}


def trunks(channels: int, size: Sequence[int]) -> list[str]:
    """The names of TRUNKS that take images of this size."""
    pictures = len(size) == 2 and channels in (1, 3) and min(size) >= SMALLEST
    return list(TRUNKS) if pictures else ["scratch"]


class Reader(nn.Module):
    """Images (N, C, *spatial) → a dictionary of raw outputs, one entry a field, as its kind gives them.

    A place is the mean of a heatmap (Nibali et al. 2018, "Numerical coordinate regression with convolutional neural
    networks"): plain regression of coordinates does not come within a few pixels. The features under the heatmap join
    the global ones, so that size and severity are read where the lesion is.
    """

    def __init__(self, schema: ConditionSchema, channels: int, size: Sequence[int], trunk: str = "scratch") -> None:
        """size: of the images in pixels, as the network is given them."""
        super().__init__()
        dims = schema.spatial_dims
        self.schema, self.trunk_name = schema, trunk
        kinds = schema.kinds.values()
        heats = sum(kind.heat_maps for kind in kinds)
        self.looks_at_places = any(kind.reads_places for kind in kinds)
        self.trunk = TRUNKS[trunk](channels, size)
        self.context = nn.ModuleList(_conv(width, NARROW, dims, size=1) for width in self.trunk.level_channels)
        self.heat = nn.Sequential(
            _conv(NARROW, NARROW, dims),
            nn.ReLU(),
            (nn.Conv2d if dims == 2 else nn.Conv3d)(NARROW, max(heats, 1), 1),
        )
        self.dropout = nn.Dropout(0.3)
        self.heads = nn.ModuleList(kind.head(2 * self.trunk.pooled + heats * NARROW, NARROW) for kind in kinds)

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, ...]]:
        fine, levels, deepest = self.trunk(x)
        pooled = [deepest.flatten(2).mean(2), deepest.flatten(2).amax(2)]
        if self.looks_at_places:
            for narrowed, level in zip(self.context, levels, strict=True):
                fine = fine + F.interpolate(narrowed(level), size=fine.shape[2:], mode="nearest")
            fine = F.relu(fine)
        counts = [kind.heat_maps for kind in self.schema.kinds.values()]
        heats, centres = fine.new_zeros(len(x), 0, 1), fine.new_zeros(len(x), 0, self.schema.spatial_dims)
        if sum(counts):
            heats = F.log_softmax(self.heat(fine).flatten(2), dim=2)
            grid = grid_centres(fine.shape[2:], fine.device)
            centres = torch.stack([heat.exp() @ grid for heat in heats.unbind(1)], 1)
            pooled += [torch.einsum("ncp,np->nc", fine.flatten(2), heat.exp()) for heat in heats.unbind(1)]
        evidence = self.dropout(torch.cat(pooled, 1))
        return {
            name: kind.outputs_of(head, Features(evidence, fine, centre, heat))
            for (name, kind), head, centre, heat in zip(
                self.schema.kinds.items(), self.heads, centres.split(counts, 1), heats.split(counts, 1), strict=True
            )
        }
