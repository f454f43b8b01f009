"""Known answers of the adversarial part of an autoencoder: when it starts, its weight, its score."""

import pandas as pd
import pytest
import torch

from medsynth.config.families.vaegan import Vaegan
from medsynth.models.contract import Batch, build
from tests.models.families.test_diffusion import spec


def model_of(dims: int = 2, **changes):
    torch.manual_seed(0)
    settings = {"channels": [8, 8], "latent_channels": 2, "prior_channels": 8, "discriminator_channels": [8]}
    model = build(Vaegan(family="vaegan", **settings | changes), spec(dims, 16))
    model.begin([torch.rand(4, 1, *model.spec.size) * 2 - 1], {})
    return model


def batch_of(model, progress: float) -> Batch:
    torch.manual_seed(1)
    rows = pd.DataFrame({"pathology": ["a", "b"] * 2})
    images = torch.rand(4, 1, *model.spec.size) * 2 - 1
    return Batch(model.spec.conditions.encode(rows), images, progress=progress)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_discriminator_starts_at_its_share_of_the_budget(dims):
    model = model_of(dims, adversarial_start=0.25)
    (autoencoder, discriminator) = model.phases
    assert [discriminator.runs(1, progress) for progress in (0.0, 0.24, 0.25, 1.0)] == [False, False, True, True]
    assert autoencoder.runs(1, 0.0)
    for progress, heard in ((0.24, False), (0.25, True)):
        terms = model.loss(batch_of(model, progress), "autoencoder")
        assert ("adversarial" in terms) == heard
        assert (model.score(batch_of(model, progress)) is not None) == heard


def test_each_phase_moves_its_own_modules_alone():
    model = model_of()
    for phase, others in (("discriminator", ("encoder", "prior", "decoder")), ("autoencoder", ("discriminator",))):
        model.zero_grad()
        sum(model.loss(batch_of(model, 1.0), phase).values()).sum().backward()
        for path in others:
            assert all(p.grad is None for p in getattr(model, path).parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_adaptive_weight_makes_both_gradients_of_the_last_layer_alike():
    model = model_of()
    batch = batch_of(model, 1.0)
    terms = model.loss(batch, "autoencoder")
    norms = [
        torch.autograd.grad(terms[name].mean(), model.decoder.leave.weight, retain_graph=True)[0].norm()
        for name in ("reconstruction", "adversarial")
    ]
    assert norms[0] > 0 and norms[1] / norms[0] == pytest.approx(1, rel=0.01)
    fixed = model_of(adaptive_weight=False, adversarial_weight=0.2)
    assert fixed.loss(batch, "autoencoder")["adaptive"].tolist() == [1.0] * 4
    assert fixed.term_weights["adversarial"] == 0.2


def test_the_discriminator_is_not_what_sampling_needs():
    model = model_of()
    assert not any(name.startswith("discriminator") for name in model.sampled_state())


def test_patches_that_would_be_few():
    settings = Vaegan(family="vaegan")
    assert settings.misfit([32, 48, 32]) is None
    assert "expected at least 4 patches a side" in settings.misfit([16, 48, 32])
    assert "from 4" in settings.misfit([32, 48, 34])
