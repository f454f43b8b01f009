"""What an autoencoder begins from: the mean training image, and probabilistic PCA of patches around it.

Tipping & Bishop 1999, "Probabilistic principal component analysis". It is the best linear autoencoder with a Gaussian
latent; what the networks learn is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medsynth.models.contract import ImageSpec, Place
from medsynth.models.wavelets import Codec


class Average(nn.Module):
    """The mean training image, and how far images are from it: networks see and make what differs from it."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(1, spec.channels, *spec.size))
        self.register_buffer("deviation", torch.ones(()))

    def remove(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.deviation

    def add(self, difference: Tensor, place: Place = ()) -> Tensor:
        """The image, or the part of it at `place`, that differs so from the mean."""
        return self.mean[place] + self.deviation * difference


@dataclass(frozen=True)
class Components:
    """Probabilistic PCA of patches of P values with L components, z ~ N(0, I), x ~ N(W z, v I).

    Attributes:
        analysis: (L, P) patch → posterior mean of z.
        synthesis: (P, L) W.
        posterior_variance: (L,) of z.
        residual_variance: v, of a value.
    """

    analysis: Tensor
    synthesis: Tensor
    posterior_variance: Tensor
    residual_variance: float


def principal_components(covariance: Tensor, count: int, least: float) -> Components:
    """The maximum-likelihood solution (Tipping & Bishop 1999, Eq. 7 and 8, without a rotation).

    Args:
        covariance: (P, P) of patches.
        least: variance that the residual has at least. Components that vary less carry nothing.
    """
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(covariance.double()))
    missing = max(0, count - len(values))  # a latent of more channels than the patch has values
    values = torch.cat([values, values.new_zeros(missing)])
    vectors = torch.cat([vectors, vectors.new_zeros(len(vectors), missing)], 1)
    rest = values[count:].mean() if len(values) > count else values.new_zeros(())
    residual = rest.clamp(min=least)
    kept = values[:count].clamp(min=residual)
    strength = (kept - residual).sqrt()
    directions = vectors[:, :count]
    analysis, synthesis = (directions * (strength / kept)).T, directions * strength
    return Components(analysis.float(), synthesis.float(), (residual / kept).float(), float(residual))


def shrunk_covariance(rows: Tensor) -> Tensor:
    """The covariance (D, D) of rows (n, D) of mean 0, its correlations shrunk as few rows of many values need.

    Source: Schäfer & Strimmer 2005, "A shrinkage approach to large-scale covariance matrix estimation", table 2, D.
    """
    rows = rows.double()
    count = len(rows)
    deviation = rows.square().mean(0).clamp(min=1e-8).sqrt()
    rows = rows / deviation
    correlation, squares = rows.T @ rows / count, rows.square()
    variance = (squares.T @ squares / count - correlation.square()) / max(1, count - 1)
    others = ~torch.eye(len(deviation), dtype=torch.bool, device=rows.device)
    shrinkage = (variance[others].sum() / correlation[others].square().sum().clamp(min=1e-12)).clamp(0.01, 1)
    correlation = torch.where(others, (1 - shrinkage) * correlation, torch.ones_like(correlation))
    return deviation[:, None] * correlation * deviation


class Kept:
    """Images of a stream, evenly spread over what came so far, as many as fit into `most` values."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.images: list[Tensor] = []
        self.seen, self.step = 0, 1

    def through(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same blocks, images of which are kept."""
        for block in blocks:
            for image in block:
                if self.seen % self.step == 0:
                    self.images.append(image)
                self.seen += 1
            while len(self.images) > 1 and len(self.images) * self.images[0].numel() > self.most:
                self.images, self.step = self.images[::2], 2 * self.step
            yield block


def measure(blocks: Iterable[Tensor], average: Average, patches: Codec) -> Tensor | None:
    """Take the mean image and the deviation from blocks of images, (N, C, *spatial) each.

    Returns:
        The covariance (P, P) of patches of what differs from the mean, over the deviation; None without images.
    """
    count, total, products = 0, torch.zeros_like(average.mean), torch.zeros(patches.channels, patches.channels).double()
    for block in blocks:
        count += len(block)
        total += block.sum(0, keepdim=True)
        products += _products(patches.encode(block))
    if not count:
        return None
    average.mean.copy_(total / count)
    positions = total[0, 0].numel() // patches.factor**patches.spatial_dims
    covariance = (products / count - _products(patches.encode(average.mean))) / positions
    variance = covariance.trace().div(len(covariance)).clamp(min=1e-4)
    average.deviation.copy_(variance.sqrt())
    return covariance / variance


def _products(bands: Tensor) -> Tensor:
    """(N, P, *grid) → (P, P) the sum of the outer products at all positions, in float64."""
    rows = bands.transpose(0, 1).flatten(1).double()
    return rows @ rows.T
