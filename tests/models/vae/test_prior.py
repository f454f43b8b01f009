"""Known answers of the prior: KL in closed form, a covariance that is drawn from as it was found, its scales."""

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from medsynth.config.families.vae import Vae
from medsynth.models.contract import build
from medsynth.models.vae.prior import by_group, correlated_kl, gaussian_kl
from tests.models.families.test_diffusion import spec


def gaussians(*shape: int):
    torch.manual_seed(0)
    return [torch.randn(*shape) for _ in range(4)]


def test_kl_of_independent_values_is_that_of_torch():
    mean, log_variance, prior_mean, prior_log_variance = gaussians(3, 2, 4)
    q, p = (
        Independent(Normal(m, (0.5 * v).exp()), 2) for m, v in ((mean, log_variance), (prior_mean, prior_log_variance))
    )
    torch.testing.assert_close(
        gaussian_kl(mean, log_variance, prior_mean, prior_log_variance), kl_divergence(q, p), rtol=1e-4, atol=1e-4
    )


def test_kl_of_unit_gaussians_a_distance_apart_is_half_its_square():
    zero = torch.zeros(1, 1)
    assert gaussian_kl(zero + 3, zero, zero, zero).item() == pytest.approx(4.5)
    assert correlated_kl(zero + 3, zero, zero, zero, torch.eye(1)).item() == pytest.approx(4.5)


def test_kl_to_a_correlated_gaussian_is_that_of_torch():
    mean, log_variance, prior_mean, prior_log_variance = gaussians(3, 5)
    whitening = torch.randn(5, 5).tril(-1) + torch.eye(5)
    factor = (0.5 * prior_log_variance).exp()[:, :, None] * torch.linalg.inv(whitening)
    q = MultivariateNormal(mean, torch.diag_embed(log_variance.exp()))
    p = MultivariateNormal(prior_mean, scale_tril=factor.tril())
    found = correlated_kl(mean, log_variance, prior_mean, prior_log_variance, whitening)
    torch.testing.assert_close(found, kl_divergence(q, p), rtol=1e-4, atol=1e-3)


@pytest.fixture(params=[2, 3])
def model(request):
    torch.manual_seed(0)
    settings = Vae(family="vae", channels=(8, 8), latent_channels=4 if request.param == 2 else 2, prior_channels=8)
    return build(settings, spec(request.param, 32))


def conditioning(model, count: int):
    return model.conditioning(model.spec.conditions.nothing(count))


def test_what_is_drawn_has_the_covariance_that_the_prior_began_with(model):
    prior = model.prior
    grid = model.settings.grid_of(model.spec.size)
    shared = torch.randn(400, prior.latent, *[1] * len(grid))
    latents = shared + 0.1 * torch.randn(400, prior.latent, *grid)  # all places of an image are nearly alike
    prior.begin(latents)
    with torch.no_grad():
        drawn = prior.draw(lambda shape: torch.randn(400, *shape), conditioning(model, 400))
    assert drawn.shape == latents.shape
    means = drawn.flatten(2).mean(2)
    assert means.std(0).mean() == pytest.approx(1, abs=0.15)
    within = drawn.flatten(2).std(2).mean()
    assert within < 0.35, within  # near 0.1: shrinkage leaves a part of the coarsest scale independent


def test_a_posterior_without_noise_gives_its_mean_and_its_kl_has_every_scale(model):
    prior = model.prior
    encoded = torch.randn(2, 2 * prior.latent, *model.settings.grid_of(model.spec.size))
    latent, posterior = prior.infer(encoded, sampled=False)
    torch.testing.assert_close(latent, encoded[:, : prior.latent], rtol=1e-4, atol=1e-4)
    kl = prior.kl(latent, posterior, conditioning(model, 2))
    assert len(kl) == len(prior.grids) == model.settings.scales_of(model.spec.size) >= 2
    assert all(each.shape == (2,) and (each > 0).all() for each in kl)


def test_the_noise_of_the_posterior_has_the_variance_of_the_channels(model):
    prior = model.prior
    variance = torch.linspace(0.1, 0.5, prior.latent)
    prior.set_spread(variance)
    encoded = torch.zeros(300, 2 * prior.latent, *model.settings.grid_of(model.spec.size))
    latent, _ = prior.infer(encoded)
    torch.testing.assert_close(latent.transpose(0, 1).flatten(1).var(1), variance, rtol=0.1, atol=0.0)


def test_a_group_of_details_is_told_those_before_it_alone(model):
    prior = model.prior
    number = len(prior.grids) - 1
    bands, coarse = prior.pyramid.encode(torch.randn(1, prior.latent, *model.settings.grid_of(model.spec.size)))[number]
    torch.nn.init.normal_(prior.scales[number].leave.weight, std=0.1)
    groups = by_group(bands, prior.latent).clone().requires_grad_(True)
    mean, _ = prior._all_groups(number, groups, coarse, conditioning(model, 1))
    for group in range(groups.shape[1]):
        (gradient,) = torch.autograd.grad(mean[:, group].sum(), groups, retain_graph=True)
        used = gradient.abs().flatten(2).sum(2)[0] > 0
        assert used.tolist() == [other < group for other in range(groups.shape[1])]


def test_without_noise_the_prior_gives_its_mean(model):
    told = conditioning(model, 1)
    draws = [model.prior.draw(lambda shape: torch.randn(1, *shape), told, (0.5, 0.0)) for _ in range(2)]
    finest = [model.prior.pyramid.encode(draw)[-1][0] for draw in draws]
    torch.testing.assert_close(*finest, rtol=0, atol=1e-5)
    assert (draws[0] - draws[1]).abs().max() > 0.01
