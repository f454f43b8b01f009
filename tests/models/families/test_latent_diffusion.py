"""A diffusion model of latents: what it takes of its autoencoder, and how latents become images."""

import pytest
import torch

from medsynth import config
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.families.latent_diffusion import LatentDiffusion, LatentDiffusionSampler
from medsynth.config.families.vae import Vae
from medsynth.errors import InputError
from medsynth.models.contract import Batch, ImageSpec, build
from medsynth.models.diffusion.denoiser import Moments
from medsynth.models.families.latent_diffusion import WIDTH, Scaling

FIELDS = {"pathology": config.Categorical(kind="categorical", values=("a", "b"))}
VAE = {"family": "vae", "channels": [8, 16], "latent_channels": 4, "prior_channels": 16, "prior_blocks": 1}
SAMPLER = LatentDiffusionSampler(steps=(3,), autoguidance=1)


def spec(dims: int = 2) -> ImageSpec:
    return ImageSpec(1, (16,) * dims, ConditionSchema(FIELDS, dims))


def images_of(count: int, dims: int = 2) -> torch.Tensor:
    torch.manual_seed(0)
    ramp = torch.linspace(-0.8, 0.8, 16).expand(count, 1, *[16] * dims)
    return ramp * torch.rand(count, 1, *[1] * dims) + 0.02 * torch.randn(count, 1, *[16] * dims)


def trained_vae(dims: int = 2):
    vae = build(Vae(**VAE), spec(dims))
    vae.begin([images_of(64, dims)], {})
    return vae


def begun(dims: int = 2, **changes):
    settings = LatentDiffusion(family="latent_diffusion", stages=[{"channels": [8]}], **changes)
    model = build(settings, spec(dims), {"autoencoder": Vae(**VAE)})
    vae = trained_vae(dims)
    model.begin([images_of(64, dims)], {"autoencoder": vae})
    return model, vae


@pytest.mark.parametrize("dims", [2, 3])
def test_it_encodes_and_decodes_as_its_autoencoder_does(dims):
    model, vae = begun(dims)
    batch = Batch(model.spec.conditions.nothing(8), images_of(8, dims))
    torch.testing.assert_close(model.reconstruct(batch), vae.reconstruct(batch))
    latent = model.encode(batch)
    assert latent.shape == (8, 4, *[4] * dims)
    scaled = model.scaling.scaled(latent)
    inside = scaled.abs() < 1
    torch.testing.assert_close(model.scaling.unscaled(scaled)[inside], latent[inside])


def test_scaled_latents_have_a_deviation_of_one_over_the_width():
    scaling, moments = Scaling(3, 2), Moments()
    latents = torch.randn(256, 3, 4, 4) * torch.tensor([1.0, 5.0, 0.1]).view(3, 1, 1) + 7
    moments.add(latents)
    scaling.set(moments)
    scaled = scaling.scaled(latents)
    assert scaled.mean((0, 2, 3)).abs().max() < 0.01
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.full((3,), 1 / WIDTH), rtol=0.02, atol=0)


def test_a_sample_is_the_decoded_latent_of_its_seed_whatever_the_batch():
    model, _ = begun()
    for stage in model.inner.stages:
        torch.nn.init.normal_(stage.unet.leave[-1].weight, std=0.1)
    batch = Batch(model.spec.conditions.nothing(3))
    together = model.sample(batch, [5, 6, 7], SAMPLER)
    alone = model.sample(batch[torch.tensor([1])], [6], SAMPLER)
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.01 and together.abs().max() <= 1
    latent = model.scaling.unscaled(model.inner.sample(batch, [5, 6, 7], SAMPLER))
    decoded = model.autoencoder.decoder(latent, model.autoencoder.conditioning(batch.condition)).clamp(-1, 1)
    torch.testing.assert_close(together, decoded)


def test_training_moves_the_denoiser_alone_and_all_that_sampling_needs_is_saved():
    model, _ = begun()
    batch = Batch(model.spec.conditions.nothing(8), images_of(8))
    (phase,) = model.phases
    for term in model.loss(batch, phase.name).values():
        term.sum().backward()
    assert all(parameter.grad is None for parameter in model.autoencoder.parameters())
    assert any(parameter.grad is not None for parameter in model.inner.stages.parameters())
    state = model.sampled_state()
    other = build(model_settings := LatentDiffusion(family="latent_diffusion", stages=[{"channels": [8]}]), spec(),
                  {"autoencoder": Vae(**VAE)})  # fmt: skip
    other.load_state_dict(state, strict=False)
    ask = Batch(model.spec.conditions.nothing(2))
    torch.testing.assert_close(other.sample(ask, [1, 2], SAMPLER), model.sample(ask, [1, 2], SAMPLER))
    assert model_settings.trained_by()["family"] == "latent_diffusion"


def test_another_autoencoder_or_none_is_refused():
    settings = LatentDiffusion(family="latent_diffusion", stages=[{"channels": [8]}])
    model = build(settings, spec(), {"autoencoder": Vae(**VAE)})
    with pytest.raises(InputError, match="needs a trained autoencoder, got none"):
        model.begin([images_of(4)], {})
    other = build(Vae(**VAE | {"kl_weight": 2}), spec())
    with pytest.raises(InputError, match="trained by other settings"):
        model.begin([images_of(4)], {"autoencoder": other})


def test_latents_that_the_stages_do_not_divide_are_refused():
    settings = LatentDiffusion(family="latent_diffusion", stages=[{"channels": [8] * 4}])
    with pytest.raises(InputError, match=r"images of \[16, 16\], latents of \[4, 4\]: size .* not divisible by 8"):
        build(settings, spec(), {"autoencoder": Vae(**VAE)})


def test_its_early_state_guides_it():
    model, _ = begun()
    early = build(LatentDiffusion(family="latent_diffusion", stages=[{"channels": [8]}]), spec(),
                  {"autoencoder": Vae(**VAE)})  # fmt: skip
    early.load_state_dict(model.sampled_state(), strict=False)
    for stages in (model.inner.stages, early.inner.stages):
        torch.nn.init.normal_(stages[0].unet.leave[-1].weight, std=0.1)
    ask = Batch(model.spec.conditions.nothing(2))
    plain = model.sample(ask, [1, 2], SAMPLER)
    model.guide = early
    guided = model.sample(ask, [1, 2], LatentDiffusionSampler(steps=(3,), autoguidance=3))
    assert (plain - guided).abs().max() > 1e-4
