"""Known answers of the patch discriminator: hinge losses, spectral normalisation, patches of their own."""

import pytest
import torch

from medsynth.config.families.vaegan import Vaegan
from medsynth.models.conditioning import Conditioning
from medsynth.models.vae.patches import PatchDiscriminator, SpectralConv, hinge_discriminator, hinge_generator
from tests.models.families.test_diffusion import spec


def test_hinge_losses():
    real = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).view(1, 1, 2, 2)
    made = torch.tensor([[-2.0, -1.0, 0.0, 1.0]]).view(1, 1, 2, 2)
    assert hinge_discriminator(real, made).tolist() == [(0 + 0 + 1 + 2 + 0 + 0 + 1 + 2) / 4]
    assert hinge_generator(made).tolist() == [0.5]


def test_scores_beyond_the_hinge_have_no_gradient():
    """MONAI's, behind a tanh, never reach it: its loss cannot be 0."""
    real, made = (torch.full((1, 1, 2, 2), value, requires_grad=True) for value in (1.5, -1.5))
    loss = hinge_discriminator(real, made).sum()
    loss.backward()
    assert loss == 0 and not real.grad.any() and not made.grad.any()


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 30), (30, 2)])
def test_the_largest_singular_value_is_one(inputs, outputs):
    torch.manual_seed(0)
    layer = SpectralConv(2, inputs, outputs, 3)
    assert torch.linalg.matrix_norm(layer.normalised().flatten(1), 2).item() == pytest.approx(1, abs=1e-4)
    before = layer.normalised().detach()
    with torch.no_grad():
        layer.weight *= 7
    torch.testing.assert_close(layer.normalised(), before)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_patch_sees_its_surroundings_alone(dims):
    torch.manual_seed(0)
    known = spec(dims, 32)
    network = PatchDiscriminator(Vaegan(family="vaegan", discriminator_channels=(4, 8)), known)
    image = torch.randn(1, 1, *known.size, requires_grad=True)
    planes = torch.zeros(1, known.conditions.map_channels, *known.size)
    told = Conditioning(known.conditions.nothing(1), planes, torch.zeros(1, {2: 6, 3: 10}[dims]))
    scores = network(image, told)
    assert scores.shape == (1, 1, *[4] * dims)
    scores.flatten()[0].backward()
    seen = image.grad.abs().amax(tuple(range(image.ndim - 1)))
    assert seen[:8].any() and not seen[26:].any()
