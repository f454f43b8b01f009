"""The relativistic pairing loss of a discriminator and what it is paired with (Huang et al. 2024, "R3GAN").

Equation numbers are of that paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pairing_loss(better: Tensor, worse: Tensor) -> Tensor:
    """How far the scores (N,) of what should look more real are from lying above those of their pairs (Eq. 2)."""
    return F.softplus(worse - better)


def gradient_penalty(score: Callable[[list[Tensor]], Tensor], images: Sequence[Tensor], gamma: float) -> Tensor:
    """R1 + R2 (Eq. 3 and 4): gamma / 2 times the squared norms (N,) of a score's gradients by real and drawn images.

    Args:
        score: of some sets of images, each (N, ...); its sum is differentiated. Not a compiled module: those have no
            second derivatives.
        images: real and drawn, each (N, ...).
    """
    with torch.autocast(images[0].device.type, enabled=False):
        inputs = [image.detach().float().requires_grad_(True) for image in images]
        gradients = torch.autograd.grad(score(inputs).sum(), inputs, create_graph=True)
        return gamma / 2 * torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0)


@contextmanager
def without_gradients(network: nn.Module) -> Iterator[None]:
    """What the block computes has no gradient by the network's weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
