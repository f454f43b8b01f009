"""Known answers of a variational autoencoder: its bound, its warm-up, its latent, its losses, its settings."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from medsynth.config.families.vae import Vae, VaeSampler
from medsynth.errors import InputError
from medsynth.models.contract import Batch, build
from medsynth.models.families.vae import GREY_LEVEL, Attempt
from medsynth.models.networks.blocks import CONV
from tests.models.families.test_diffusion import spec


def small(**changes) -> Vae:
    return Vae(family="vae", **{"channels": [8, 8], "latent_channels": 2, "prior_channels": 8} | changes)


def model_of(dims: int = 2, size: int = 16, channels: int = 1, **changes):
    torch.manual_seed(0)
    model = build(small(**changes), replace(spec(dims, size), channels=channels))
    model.begin([], {})
    return model


def batch_of(model, count: int = 4, progress: float = 0.0) -> Batch:
    rows = pd.DataFrame({"pathology": ["a", "b"] * (count // 2)})
    images = torch.rand(count, model.spec.channels, *model.spec.size) * 2 - 1
    return Batch(model.spec.conditions.encode(rows), images, progress=progress)


def test_bits_are_those_of_a_gaussian_whose_variance_is_the_error():
    """Of white noise with a deviation of 16 grey levels: log2(16 sqrt(2 pi e)) bits, and KL of one bit a pixel."""
    model = model_of()
    error = (16 * GREY_LEVEL) ** 2
    model.variance.fill_(error)
    kl = [torch.full([1], math.log(2) * 256 / 2)] * 2
    bits = model.bits(Attempt(torch.zeros(1, 1, 16, 16), kl, torch.tensor([error])))
    assert bits.item() == pytest.approx(math.log2(16 * math.sqrt(2 * math.pi * math.e)) + 1, abs=1e-4)


def test_the_variance_of_the_likelihood_follows_the_error_down_to_a_grey_level():
    model = model_of()
    model.heed({"error": torch.tensor(0.04)}, spent=0.005)
    assert model.variance.item() == pytest.approx(0.04)
    model.heed({"error": torch.tensor(0.08)}, spent=0.00125)
    assert model.variance.item() == pytest.approx(0.05)
    model.heed({"error": torch.tensor(0.0)}, spent=1.0)
    assert model.variance.item() == pytest.approx(GREY_LEVEL**2)
    model.heed({}, spent=1.0)  # a step without the phase
    assert model.variance.item() == pytest.approx(GREY_LEVEL**2)


def test_the_kl_warms_up_and_is_free_below_its_floor():
    model = model_of(kl_weight=2.0, kl_warmup=0.5, free_nats=0.1)
    assert [model.kl_weight(at) for at in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    assert model_of(kl_warmup=0.0).kl_weight(0.0) == 1.0
    batch = batch_of(model, 2, progress=1.0)
    first, *others = [torch.full([2], 0.01 * values) for values in model.values]
    over = torch.full([2], 3.0 * model.values[0], requires_grad=True)
    under = first.requires_grad_(True)
    for coarsest, expected in ((under, 0.1), (over, 3.0)):
        attempt = Attempt(batch.image, [coarsest, *others], torch.zeros(2))
        kl = model.bound(batch, attempt)["kl"]
        whole = expected * model.values[0] + 0.1 * sum(model.values[1:])
        assert kl.tolist() == pytest.approx([2 * whole / 256] * 2)
        kl.sum().backward()
        assert bool(coarsest.grad.any()) == (expected == 3.0)


@pytest.mark.parametrize(("dims", "side", "expected"), [(2, 64, [4, 4, 8]), (3, 32, [2, 2, 4]), (3, 16, [2, 2])])
def test_a_latent_is_halved_as_long_as_it_has_many_values(dims, side, expected):
    """The average of the coarsest scale, then details, each on the grid of the average that they refine."""
    settings = Vae(family="vae")
    model = build(settings, spec(dims, side))
    assert model.prior.grids == [tuple([extent] * dims) for extent in expected]
    assert model.prior.latent == {2: 4, 3: 16}[dims] == settings.for_images([side] * dims).latent_channels


def test_checkpointing_changes_no_gradient():
    found = []
    for checkpointing in (False, True):
        model = model_of(training={"gradient_checkpointing": checkpointing})
        for layer in (model.decoder.leave, model.encoder.leave):
            torch.nn.init.normal_(layer.weight, std=0.1)
        batch = batch_of(model, progress=1.0)
        torch.manual_seed(1)
        sum(model.loss(batch, "autoencoder").values()).sum().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_losses_compare_reconstructions():
    model = model_of(losses={"charbonnier": {"weight": 0.5}})
    assert model.term_weights["charbonnier"] == 0.5
    batch = batch_of(model)
    torch.manual_seed(0)
    terms = model.loss(batch, "autoencoder")
    torch.manual_seed(0)
    image = model.attempt(batch.image, model.lesson(batch)).image
    expected = (image - batch.image).abs().flatten(1).mean(1)
    torch.testing.assert_close(terms["charbonnier"], expected, rtol=0.01, atol=1e-3)


def test_a_reconstruction_has_no_noise():
    model = model_of()
    torch.nn.init.normal_(model.decoder.leave.weight, std=0.1)
    batch = batch_of(model)
    one, other = (model.reconstruct(batch) for _ in range(2))
    assert torch.equal(one, other) and one.abs().max() <= 1 and one.shape == batch.image.shape


def test_temperature_scales_the_noise():
    model = model_of()
    torch.nn.init.normal_(model.decoder.synthesise.weight, std=0.05)
    asked = Batch(model.spec.conditions.nothing(64))
    spread = [model.sample(asked, range(64), VaeSampler(temperature=[t])).std(0).mean() for t in (0.25, 0.5)]
    assert spread[1] / spread[0] == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_an_initial_model_gives_all_its_weights_but_not_its_statistics(dims):
    parent, child = model_of(dims), model_of(dims)
    for parameter in parent.parameters():
        torch.nn.init.normal_(parameter)
    child.begin([torch.rand(4, 1, *child.spec.size)], {"initial": parent})
    other = dict(parent.named_parameters())
    assert all(torch.equal(parameter, other[name]) for name, parameter in child.named_parameters())
    assert child.encoder.average.mean.any() and not parent.encoder.average.mean.any()


def test_settings_that_do_not_fit():
    assert small().misfit([64, 64]) is None
    assert "over 4" in small().misfit([64, 66]) and "from 4" in small().misfit([8, 8])
    assert "halved to [45, 45]" in Vae(family="vae").misfit([180, 180])
    with pytest.raises(InputError, match="over 4"):
        build(small(), spec(2, 8))
    with pytest.raises(ValidationError, match="an autoencoder has no noise level"):
        small(losses={"edge": {"weight": 1.0, "below": 2.0}})
    with pytest.raises(ValidationError, match="0 at the coarsest scale"):
        VaeSampler(temperature=[0.0, 1.0])


@pytest.mark.parametrize("dims", [2, 3])
def test_convolutions_follow_the_dimension(dims):
    model = model_of(dims)
    assert isinstance(model.encoder.enter, CONV[dims]) and model.encoder.enter.weight.ndim == dims + 2
