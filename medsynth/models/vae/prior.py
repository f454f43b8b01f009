"""The conditional prior of a latent grid: Gaussians over its Haar pyramid, each scale given the coarser ones.

The latent is split into an average at its coarsest scale and the details that double its resolution, one scale after
the other. The prior of each is a Gaussian whose mean and variance follow from the coarser latent and the condition,
p(z | c) = p(z_1 | c) prod_s p(z_s | z_<s, c), which is the top-down prior of a ladder VAE (Sønderby et al. 2016, Eq. 1
to 3) on a transform without parameters. The posterior is a Gaussian of independent values in the same pyramid, so that
the KL of each scale has a closed form, and one latent grid serves the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.config.families.vae import Autoencoder
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import ImageSpec
from medsynth.models.networks.blocks import CONV, ResidualBlock, normalisation, zero_initialised
from medsynth.models.stylegan.layers import averaged_down
from medsynth.models.vae.blocks import EMBEDDING, Told
from medsynth.models.vae.statistics import shrunk_covariance
from medsynth.models.wavelets import Codec, Pyramid

PRIOR_ROWS = 8  # latents that the variance of all places counts as, at each place
LOG_VARIANCE = (-12.0, 6.0)  # beyond it a Gaussian is a point, or flat

Noise = Callable[[tuple[int, ...]], Tensor]  # shape of one latent → standard normal (N, *shape)


def gaussian_kl(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> Tensor:
    """KL(q || p) in nats (N,) of Gaussians of independent values, (N, ...) each."""
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1 + prior_log_variance - log_variance).flatten(1).sum(1)


def correlated_kl(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor, whitening: Tensor
) -> Tensor:
    """KL(q || p) in nats (N,), q of independent values, p = N(m, S A^-1 A^-T S), S^2 the prior's variances.

    Args:
        mean: (N, D), like the three after it.
        whitening: A, (D, D) lower triangular with ones on its diagonal; its determinant is 1.
    """
    scale = (-0.5 * prior_log_variance).exp()
    trace = ((log_variance.exp() * scale.square()) @ whitening.square().T).sum(1)
    distance = (((mean - prior_mean) * scale) @ whitening.T).square().sum(1)
    return 0.5 * (trace + distance - mean.shape[1] + (prior_log_variance - log_variance).sum(1))


def precisely(like: Tensor) -> torch.autocast:
    """The block computes in float32: bfloat16 has too few steps for what is added up over scales."""
    return torch.autocast(like.device.type, enabled=False)


class Scale(nn.Module):
    """The mean and the logarithm of the variance of a group of L values at each position of one scale.

    The groups are the directions of the Haar details, each given those before it; the coarsest scale has one group.
    """

    def __init__(
        self, settings: Autoencoder, spec: ImageSpec, groups: int, coarse: bool, grid: tuple[int, ...]
    ) -> None:
        """coarse: whether there is a coarser latent."""
        super().__init__()
        dims, width, latent = spec.spatial_dims, settings.prior_channels, settings.latent_of(spec.size)
        inputs = latent * (coarse + groups - 1) + spec.conditions.map_channels + 1
        self.groups = groups
        self.told = Told(spec)
        self.group = nn.Parameter(torch.zeros(groups, EMBEDDING))
        self.shift = nn.Linear(EMBEDDING, width)
        self.place = nn.Parameter(torch.zeros(1, width, *grid))
        self.enter = CONV[dims](inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(dims, width, width, EMBEDDING) for _ in range(settings.prior_blocks))
        self.norm = normalisation(width)
        self.leave = zero_initialised(CONV[dims](width, 2 * groups * latent, 3, padding=1))
        self.offset = nn.Parameter(torch.zeros(groups, 2 * latent, *grid))

    def forward(self, known: Tensor, planes: Tensor, group: Tensor, conditioning: Conditioning) -> Tensor:
        """Args:
            known: (N, K, *grid) the coarser latent, and the groups but the last, zero where they are not known yet.
            planes: (N, P, *grid).
            group: (N,) which group is asked for, from 0.
        Returns:
            (N, 2 L, *grid): means, then log variances.
        """
        told = self.told(conditioning) + self.group[group]
        ones = planes.new_ones(len(planes), 1, *planes.shape[2:])  # an input where there is no other
        x = self.enter(torch.cat([known, planes, ones], 1)) + self.place
        x = x + self.shift(told).view(*x.shape[:2], *[1] * (x.ndim - 2))  # the shortest way for a condition
        for block in self.blocks:
            x = block(x, told)
        found = self.leave(F.silu(self.norm(x))).unflatten(1, (self.groups, -1))
        return found[torch.arange(len(group), device=group.device), group] + self.offset[group]


class Prior(nn.Module):
    """The Gaussians of all scales, from coarse to fine; the values of the coarsest have a covariance that is learnt."""

    def __init__(self, settings: Autoencoder, spec: ImageSpec) -> None:
        super().__init__()
        count = settings.scales_of(spec.size)
        self.latent = latent = settings.latent_of(spec.size)
        grid = settings.grid_of(spec.size)
        self.pyramid = Pyramid(Codec("identity", 0, latent, spec.spatial_dims), count)
        self.grids = [tuple(extent // factor for extent in grid) for factor in self.pyramid.factors]
        self.halvings = [
            settings.haar_levels + len(settings.channels) - 1 + factor.bit_length() - 1
            for factor in self.pyramid.factors
        ]
        self.groups = [bands // latent for bands in self.pyramid.bands]
        self.scales = nn.ModuleList(
            Scale(settings, spec, groups, number > 0, shape)
            for number, (groups, shape) in enumerate(zip(self.groups, self.grids, strict=True))
        )
        values = latent * math.prod(self.grids[0])
        self.below = nn.Parameter(torch.zeros(values, values))
        self.spread = nn.ParameterList(torch.zeros(1, bands, *[1] * len(grid)) for bands in self.pyramid.bands)

    @property
    def whitening(self) -> Tensor:
        """A of `correlated_kl`."""
        return self.below.tril(-1) + torch.eye(len(self.below), device=self.below.device)

    @torch.no_grad()
    def begin(self, latents: Tensor) -> None:
        """Begin with the variances of latents (n, L, *grid) at each place, and the covariance of the coarsest scale."""
        for number, (bands, _) in enumerate(self.pyramid.encode(latents)):
            groups = by_group(bands, self.latent)
            if number:
                everywhere = groups.square().mean((0, *range(3, groups.ndim)), keepdim=True)
                count = len(groups)
                variance = (groups.square().sum(0) + PRIOR_ROWS * everywhere[0]) / (count + PRIOR_ROWS)
            else:
                factor = torch.linalg.cholesky(shrunk_covariance(groups.flatten(1)))
                scale = factor.diagonal()
                self.below.copy_(torch.linalg.inv(factor / scale[:, None]))
                variance = scale.square().float().view_as(groups[0])
            self.scales[number].offset[:, self.latent :] = variance.log().clamp(*LOG_VARIANCE)

    @torch.no_grad()
    def set_spread(self, variance: Tensor) -> None:
        """Begin with a posterior of these variances (L,) of the latent's channels; averages of many vary less."""
        dims = len(self.grids[0])
        for bands, factor, spread in zip(self.pyramid.bands, self.pyramid.factors, self.spread, strict=True):
            finer = factor if bands == len(variance) else factor // 2  # the average that the details are of
            own = (variance / finer**dims).log().repeat_interleave(bands // len(variance))
            spread.copy_(own.view_as(spread))

    def infer(self, encoded: Tensor, sampled: bool = True) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """A latent from the posterior, and what the posterior is.

        Args:
            encoded: (N, 2 L, *grid) of the encoder.
            sampled: with its noise; else the mean.
        Returns:
            (N, L, *grid), and the mean and log variance of each scale.
        """
        with precisely(encoded):
            means, log_variances = encoded.float().chunk(2, 1)
            latent: Tensor | None = None
            posterior = []
            levels = zip(self.pyramid.encode(means), self.pyramid.factors, self.spread, strict=True)
            for (mean, _), factor, spread in levels:
                averaged = averaged_down(log_variances, factor.bit_length() - 1)
                log_variance = averaged.repeat_interleave(mean.shape[1] // averaged.shape[1], 1) + spread
                log_variance = log_variance.clamp(*LOG_VARIANCE)
                posterior.append((mean, log_variance))
                drawn = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if sampled else mean
                latent = self.pyramid.decode(drawn, latent)
        assert latent is not None
        return latent, posterior

    def kl(self, latent: Tensor, posterior: list[tuple[Tensor, Tensor]], conditioning: Conditioning) -> list[Tensor]:
        """KL of each scale in nats, (N,), given the coarser scales of `latent`, and the groups before in its own."""
        with precisely(latent):
            of_prior = [
                self._all_groups(number, by_group(bands, self.latent), coarse, conditioning)
                for number, (bands, coarse) in enumerate(self.pyramid.encode(latent))
            ]
            own = [(by_group(mean, self.latent), by_group(spread, self.latent)) for mean, spread in posterior]
            mean, log_variance, prior_mean, prior_log_variance = (each.flatten(1) for each in (*own[0], *of_prior[0]))
            coarsest = correlated_kl(mean, log_variance, prior_mean, prior_log_variance, self.whitening)
            finer = zip(own[1:], of_prior[1:], strict=True)
            return [coarsest, *(gaussian_kl(*both, *other) for both, other in finer)]

    def draw(self, noise: Noise, conditioning: Conditioning, temperature: Sequence[float] = (1.0,)) -> Tensor:
        """A latent (N, L, *grid) for each condition.

        Args:
            temperature: factor of the noise of each scale; the last entry serves all finer ones.
        """
        latent: Tensor | None = None
        with precisely(conditioning.planes):
            for number, grid in enumerate(self.grids):
                factor = temperature[min(number, len(temperature) - 1)]
                groups: list[Tensor] = []
                for group in range(self.groups[number]):
                    mean, log_variance = self._group(number, group, groups, latent, conditioning)
                    drawn = factor * noise((self.latent, *grid))
                    drawn = drawn if number else self._correlated(drawn)
                    groups.append(mean + (0.5 * log_variance).exp() * drawn)
                bands = torch.stack(groups, 2).flatten(1, 2)
                latent = self.pyramid.decode(bands, latent)
        assert latent is not None
        return latent

    def _correlated(self, noise: Tensor) -> Tensor:
        """A^-1 times noise of the coarsest scale (N, L, *grid)."""
        columns = noise.flatten(1).T
        return torch.linalg.solve_triangular(self.whitening, columns, upper=False, unitriangular=True).T.view_as(noise)

    def _all_groups(
        self, number: int, groups: Tensor, coarse: Tensor | None, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance of all groups, each told those before it: (N, G, L, *grid) like `groups`."""
        count, many = groups.shape[:2]
        rows = torch.arange(count, device=groups.device).repeat_interleave(many)
        group = torch.arange(many, device=groups.device).repeat(count)
        before = torch.arange(many - 1, device=groups.device) < group[:, None]
        known = groups[rows, :-1] * before.view(*before.shape, *[1] * (groups.ndim - 2))
        told = conditioning[rows]
        found = self._of(number, known.flatten(1, 2), None if coarse is None else coarse[rows], group, told)
        mean, log_variance = (each.unflatten(0, (count, many)) for each in found)
        return mean, log_variance

    def _group(
        self, number: int, group: int, before: list[Tensor], coarse: Tensor | None, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, L, *grid) of one group, given those before it."""
        planes = conditioning.planes
        unknown = planes.new_zeros(len(planes), self.latent, *self.grids[number])
        known = [*before, *[unknown] * (self.groups[number] - 1 - len(before))]
        joined = torch.cat(known, 1) if known else unknown[:, :0]
        return self._of(number, joined, coarse, torch.full([len(planes)], group, device=planes.device), conditioning)

    def _of(
        self, number: int, known: Tensor, coarse: Tensor | None, group: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        planes = averaged_down(conditioning.planes, self.halvings[number])
        joined = known if coarse is None else torch.cat([coarse, known], 1)
        mean, log_variance = self.scales[number](joined, planes, group, conditioning).chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE)


def by_group(bands: Tensor, channels: int) -> Tensor:
    """Bands of the pyramid (N, L * G, *grid) → (N, G, L, *grid): the directions of the details first."""
    return bands.unflatten(1, (channels, -1)).transpose(1, 2)
