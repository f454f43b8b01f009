"""Known answers of what an autoencoder begins from: probabilistic PCA, shrunk covariances, images that are kept."""

import numpy as np
import pytest
import torch

from medsynth.config.families.vae import Vae
from medsynth.models.contract import Batch, build
from medsynth.models.vae.statistics import Kept, principal_components, shrunk_covariance
from tests.models.families.test_diffusion import spec


def test_probabilistic_pca_of_a_diagonal_covariance():
    """Eigenvalues 5, 3, 1 and 1: a residual of 1; the posterior variances of the others are 1/5 and 1/3."""
    found = principal_components(torch.diag(torch.tensor([1.0, 5.0, 3.0, 1.0])), 2, least=1e-6)
    assert found.residual_variance == pytest.approx(1)
    assert found.posterior_variance.tolist() == pytest.approx([1 / 5, 1 / 3])
    marginal = found.synthesis @ found.synthesis.T + torch.eye(4)
    torch.testing.assert_close(marginal, torch.diag(torch.tensor([1.0, 5.0, 3.0, 1.0])), rtol=1e-4, atol=1e-5)
    # z given x, Tipping & Bishop 1999, Eq. 6 with M = W^T W + v I
    inverse = torch.linalg.inv(found.synthesis.T @ found.synthesis + torch.eye(2))
    torch.testing.assert_close(found.analysis, inverse @ found.synthesis.T, rtol=1e-4, atol=1e-5)


def test_components_beyond_the_values_of_a_patch_carry_nothing():
    found = principal_components(torch.eye(2) * 4, 3, least=0.01)
    assert found.synthesis.shape == (2, 3) and not found.synthesis[:, 2].any()
    assert found.posterior_variance[2].item() == pytest.approx(1)


def test_few_rows_shrink_correlations_and_many_do_not():
    torch.manual_seed(0)
    truth = torch.tensor([[4.0, 1.9], [1.9, 1.0]])
    many = torch.randn(20_000, 2) @ torch.linalg.cholesky(truth).T
    np.testing.assert_allclose(shrunk_covariance(many), truth, rtol=0.05)
    few = shrunk_covariance(torch.randn(5, 40))
    assert torch.linalg.eigvalsh(few).min() > 0  # 5 rows alone have a covariance of rank 5
    off = few - torch.diag(few.diagonal())
    assert off.abs().max() < 0.5 * few.diagonal().max()


def test_images_are_kept_from_all_of_the_stream():
    kept = Kept(most=8 * 4)
    blocks = torch.arange(64.0).repeat_interleave(4).view(16, 4, 1, 2, 2)
    assert torch.equal(torch.cat(list(kept.through(blocks))), blocks.flatten(0, 1))
    assert [int(image[0, 0, 0]) for image in kept.images] == list(range(0, 64, 8))


@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 1)])
def test_images_in_the_span_of_the_components_are_reconstructed_before_the_first_step(dims, channels):
    """Each patch of the images is a multiple of one pattern, which the first component finds."""
    torch.manual_seed(0)
    settings = Vae(family="vae", channels=(8, 8), latent_channels=2, prior_channels=8)
    known = spec(dims, 16)
    known = type(known)(channels, known.size, known.conditions)
    model = build(settings, known)
    pattern = torch.randn(1, channels, *[4] * dims).repeat(1, 1, *[4] * dims) * 0.1
    strength = torch.randn(60, 1, *[4] * dims)
    for axis in range(dims):
        strength = strength.repeat_interleave(4, axis + 2)
    images = 0.2 + strength * pattern
    model.begin(images.split(16), {})
    made = model.reconstruct(Batch(model.spec.conditions.nothing(60), images))
    assert (made - images).square().mean() < 0.01 * images.var()
