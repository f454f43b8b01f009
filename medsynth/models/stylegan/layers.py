"""Layers of a style-based GAN: equalised learning rates (Karras et al. 2018), modulation (Karras et al. 2020).

Weights are drawn from N(0, 1) and scaled when they are used, so that Adam moves all layers at the same rate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.models.networks.blocks import AVERAGE_POOL
from medsynth.models.wavelets import CONV

SMOOTH = {2: "bilinear", 3: "trilinear"}
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through the activation


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance."""
    return F.leaky_relu(x, SLOPE) * GAIN


def upsample(x: Tensor) -> Tensor:
    """(N, C, *spatial) at twice the resolution, smoothly."""
    return F.interpolate(x, scale_factor=2, mode=SMOOTH[x.ndim - 2], align_corners=False)


def averaged_down(x: Tensor, halvings: int) -> Tensor:
    """(N, C, *spatial) at its resolution halved so many times."""
    if not x.shape[1]:  # which no pooling takes
        return x.new_zeros(len(x), 0, *(extent // 2**halvings for extent in x.shape[2:]))
    return AVERAGE_POOL[x.ndim - 2](x, 2**halvings) if halvings else x


def normalised(x: Tensor) -> Tensor:
    """(N, F) with a mean square of 1 in each row."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class EqualisedLinear(nn.Module):
    """A linear layer; `rate` is its share of the learning rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full([outputs], bias / rate))
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class EqualisedConv(nn.Module):
    """A convolution that keeps the size."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[kernel] * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = 1 / math.sqrt(inputs * kernel**spatial_dims)
        self.spatial_dims, self.kernel = spatial_dims, kernel

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, *spatial) → (N, outputs, *spatial)."""
        return CONV[self.spatial_dims](x, self.weight * self.gain, self.bias, padding=self.kernel // 2)


class ModulatedConv(nn.Module):
    """A convolution whose inputs are scaled by a style, and whose outputs then have unit variance again.

    Scaling inputs and outputs is the same as scaling the weights of each image (Karras et al. 2020, section 2.2), and
    needs no weights of its own for each image.

    Args:
        planes: inputs after the others that no style scales.
        demodulated: whether outputs are brought to unit variance.
    """

    def __init__(
        self,
        spatial_dims: int,
        inputs: int,
        outputs: int,
        kernel: int,
        style: int,
        planes: int = 0,
        demodulated: bool = True,
    ) -> None:
        super().__init__()
        self.conv = EqualisedConv(spatial_dims, inputs + planes, outputs, kernel, bias=False)
        self.to_scale = EqualisedLinear(style, inputs, bias=1.0)
        self.demodulated = demodulated

    def forward(self, x: Tensor, style: Tensor, planes: Tensor | None = None) -> Tensor:
        """x: (N, inputs, *spatial), style: (N, S), planes: (N, P, *spatial) → (N, outputs, *spatial)."""
        ones = [1] * (x.ndim - 2)
        scale = self.to_scale(style)
        x = x * scale.view(*scale.shape, *ones)
        out = self.conv(x if planes is None else torch.cat([x, planes], 1))
        if not self.demodulated:
            return out
        squares = (self.conv.weight * self.conv.gain).square().flatten(2).sum(2)  # (outputs, inputs + planes)
        own = squares[:, : scale.shape[1]]
        variance = scale.square() @ own.T + squares[:, scale.shape[1] :].sum(1)
        return out * (variance + 1e-8).rsqrt().view(*variance.shape, *ones)
