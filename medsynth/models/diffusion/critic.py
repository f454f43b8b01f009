"""The discriminator of details: how real they look beside the coarser image that they refine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medsynth.models.losses.pairing import gradient_penalty, pairing_loss, without_gradients
from medsynth.models.stylegan.discriminator import Halving
from medsynth.models.stylegan.layers import EqualisedConv, activate


class DetailCritic(nn.Module):
    """A fully convolutional discriminator (Isola et al. 2017): texture is local, so every place has its own score.

    Args:
        bands: sub-bands that are judged.
        planes: planes beside them: the coarser image and the drawn conditions.
        channels: at each resolution, from the bands' own to the coarsest.
    """

    def __init__(self, spatial_dims: int, bands: int, planes: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.enter = EqualisedConv(spatial_dims, bands + planes, channels[0], 3)
        self.halve = nn.ModuleList(Halving(spatial_dims, finer, coarser) for finer, coarser in pairwise(channels))
        self.last = EqualisedConv(spatial_dims, channels[-1], channels[-1], 3)
        self.score = EqualisedConv(spatial_dims, channels[-1], 1, 1)

    def drawn_loss(self, true: Tensor, drawn: Tensor, planes: Tensor) -> Tensor:
        """How far (N,) drawn details are from looking as real as true ones; no gradient by the weights of this."""
        with without_gradients(self):
            with torch.no_grad():
                score_true = self([true], planes)[0]
            return pairing_loss(self([drawn], planes)[0], score_true).mean(1)

    def own_losses(self, true: Tensor, drawn: Tensor, planes: Tensor, gamma: float) -> dict[str, Tensor]:
        """Its own terms (N,): telling both apart, and its gradient penalties."""
        score_true, score_drawn = self([true, drawn], planes)
        terms = {"critic": pairing_loss(score_true, score_drawn).mean(1)}

        def score(sets: list[Tensor]) -> Tensor:  # so that the penalty is the mean of those of all places
            places = self.forward(sets, planes)
            return places.sum(2) / places.shape[2] ** 0.5

        return terms | ({"penalty": gradient_penalty(score, [true, drawn], gamma)} if gamma else {})

    def forward(self, sets: Sequence[Tensor], planes: Tensor) -> Tensor:
        """How real the details of some sets look at each place: (sets, N, places), higher for more real.

        Args:
            sets: (N, bands, *spatial) each; planes: (N, P, *spatial) of all of them.
        """
        beside = planes.repeat(len(sets), *[1] * (planes.ndim - 1))
        x = activate(self.enter(torch.cat([torch.cat(list(sets)), beside], 1)))
        for halve in self.halve:
            x = halve(x)
        x = self.score(activate(self.last(x)))
        return x.flatten(1).unflatten(0, (len(sets), -1)).float()
