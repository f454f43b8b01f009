"""How far drawn images are from real ones, as distributions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from medsynth.conditions.kind import GIVEN, Condition
from medsynth.models.stylegan.layers import averaged_down

LEAST_DEVIATION = 0.05  # of pixels in [-1, 1]: what varies less can hardly be seen


def energy_distance(real: Tensor, drawn: Tensor) -> Tensor:
    """The share (N,) of each pair in the energy distance of two sets of N features (N, F) (Székely & Rizzo 2013).

    Its mean is 0 on average where both are of the same distribution, and larger where they are not: also where drawn
    images are all alike. A real and a drawn image in the same place were asked for alike, and are not compared. One
    pair alone has no differences within a set, and its distance is twice that of the pair.
    """
    others = max(1, len(real) - 1)
    pairs = torch.cdist(real, drawn)
    across = (pairs.sum(1) - (pairs.diagonal() if len(real) > 1 else 0)) / others
    within = (torch.cdist(real, real).sum(1) + torch.cdist(drawn, drawn).sum(1)) / others
    return 2 * across - within


def described(
    real: Tensor, drawn: Tensor, halvings: int, condition: Condition, planes: Tensor
) -> tuple[Tensor, Tensor]:
    """Features (N, F) of two sets of images (N, C, *spatial), in units of how much they vary in the real ones.

    How strong details are at each resolution, in each part of the image, the image at the last one, and what both were
    asked for, which counts as much as a resolution: their distance is that of images and conditions together, and
    images that do not follow their condition are far from real ones.

    Args:
        halvings: of the resolution.
        condition: N conditions; planes: (N, P, *spatial) what is drawn of them.
    """
    given = condition.states == GIVEN
    scalars = torch.cat([condition.values.where(given, 0), condition.states.float()], 1)
    scalars = (scalars - scalars.mean(0)) / scalars.std(0, correction=0).clamp(min=LEAST_DEVIATION)
    coarse = averaged_down(planes, halvings).flatten(1)
    parts = []
    for of_real, of_drawn in zip(_levels(real, halvings), _levels(drawn, halvings), strict=True):
        scale = of_real.std().clamp(min=LEAST_DEVIATION) * of_real.shape[1] ** 0.5
        parts.append((of_real / scale, of_drawn / scale))
    for asked in (scalars, coarse):
        if asked.shape[1]:
            scale = asked.std(correction=0).clamp(min=LEAST_DEVIATION) * asked.shape[1] ** 0.5
            parts.append((asked / scale, asked / scale))
    return torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)


def _levels(image: Tensor, halvings: int) -> Iterator[Tensor]:
    """(N, F) of each resolution, from fine to coarse."""
    for left in range(halvings, 0, -1):
        coarse = averaged_down(image, 1)
        details = (image - F.interpolate(coarse, scale_factor=2)).abs()
        yield averaged_down(details, left).flatten(1)
        image = coarse
    yield image.flatten(1)
