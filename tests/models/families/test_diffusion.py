"""Known answers: the optimal denoiser of Gaussian data has a closed form, and its ODE an exact solution."""

import copy
import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from medsynth import config
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.families.diffusion import Diffusion, DiffusionSampler
from medsynth.config.training import Augmentation
from medsynth.errors import InputError
from medsynth.models.augmentation import augment
from medsynth.models.contract import Batch, ImageSpec, build
from medsynth.models.diffusion.denoiser import Moments

FIELDS = {"pathology": config.Categorical(kind="categorical", values=("a", "b"))}


def small(stages: int = 1, **changes) -> Diffusion:
    return Diffusion(family="diffusion", stages=[{"channels": [16, 16]}] * stages, **changes)


def sampler(steps: int, **changes) -> DiffusionSampler:
    return DiffusionSampler(steps=(steps,), guided=(0, 100), **{"autoguidance": 1} | changes)


def wake(model, std: float = 0.02) -> None:
    """A network whose last layer is zero, as all begin, gives nothing to compare."""
    for stage in model.stages:
        torch.nn.init.normal_(stage.unet.leave[-1].weight, std=std)


def spec(dims: int = 2, size: int = 8) -> ImageSpec:
    return ImageSpec(1, (size,) * dims, ConditionSchema(FIELDS, dims))


def test_training_finds_the_optimal_denoiser_of_gaussian_data():
    # White Gaussian pixels of variance s^2: D(x; sigma) = x s^2 / (s^2 + sigma^2) is optimal; at the start the
    # network is zero and the preconditioning alone gives that answer, so the loss begins at its optimum of 1.
    torch.manual_seed(0)
    model = build(small(), spec())
    images = 0.3 * torch.randn(4096, 1, 8, 8)
    model.begin([images], {})
    condition = spec().conditions.nothing(512)
    stage, given = model.stages[0], model.given(0, Batch(condition), None)
    x = stage.to_latent(model.pyramid.encode(images[:512])[0][0])
    for sigma in (0.05, 0.5, 5.0):
        noisy = x + sigma * torch.randn_like(x)
        denoised = stage(noisy, torch.full((512,), sigma), given)
        torch.testing.assert_close(denoised, noisy / (1 + sigma**2), atol=1e-2, rtol=0.02)
    loss = model.loss(Batch(condition, images[:512]), "stage_1")["stage_1"].detach()
    assert loss.mean() == pytest.approx(1, abs=0.05)

    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        batch = images[torch.randint(4096, (64,))]
        model.loss(Batch(condition[:64], batch), "stage_1")["stage_1"].mean().backward()
        optimiser.step()
    with torch.no_grad():
        trained = model.loss(Batch(condition, images[:512]), "stage_1")["stage_1"].mean()
    assert trained == pytest.approx(1, abs=0.08)  # noise has no structure to learn, and none was invented


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_every_band_has_unit_loss_at_the_start_whatever_the_whitening(whitening):
    torch.manual_seed(0)
    model = build(small(whitening=whitening), spec())
    smooth = torch.nn.functional.interpolate(torch.randn(2048, 1, 2, 2), 8, mode="bilinear")
    model.begin([smooth], {})
    stage = model.stages[0]
    latent = stage.to_latent(model.pyramid.encode(smooth)[0][0])
    torch.testing.assert_close(latent.std((0, 2, 3)), stage.sigma_data.flatten(), rtol=1e-3, atol=1e-5)
    loss = model.loss(Batch(spec().conditions.nothing(2048), smooth), "stage_1")["stage_1"].detach()
    assert loss.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("whitening", [0.0, 0.5])
def test_statistics_of_blocks_are_those_of_all_images(whitening):
    torch.manual_seed(0)
    images = 0.2 * torch.randn(50, 1, 16, 16) + torch.linspace(-0.9, 0.9, 50).view(-1, 1, 1, 1)
    model = build(small(2, whitening=whitening), spec(size=16))
    model.begin(images.split(7), {})
    for stage, (bands, coarse) in zip(model.stages, model.pyramid.encode(images), strict=True):
        mean, deviation = bands.mean((0, 2, 3)), bands.std((0, 2, 3))
        torch.testing.assert_close(stage.band_mean.flatten(), mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(stage.band_scale.flatten(), deviation**whitening, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(stage.sigma_data.flatten(), deviation ** (1 - whitening), rtol=1e-4, atol=1e-6)
        if coarse is not None:
            torch.testing.assert_close(stage.coarse_mean.flatten(), coarse.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(stage.coarse_scale.flatten(), coarse.std((0, 2, 3)), rtol=1e-4, atol=1e-6)


def test_the_deviation_of_values_far_from_zero_is_exact():
    # 4 and 4.002 in turn: their mean lies between, their deviation is half the distance, of 100 values.
    moments = Moments()
    for _ in range(50):
        moments.add(torch.tensor([4.0, 4.002], dtype=torch.float64).view(2, 1, 1))
    assert moments.mean.item() == pytest.approx(4.001, abs=1e-9)
    assert moments.deviation.item() == pytest.approx(0.001 * math.sqrt(100 / 99), rel=1e-5)


@pytest.mark.parametrize("kind", ["identity", "pixel_unshuffle", "haar"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stages", [1, 2])
def test_a_sample_depends_on_its_seed_and_not_on_its_batch(kind, dims, stages):
    torch.manual_seed(0)
    model = build(small(stages, codec={"kind": kind, "levels": 1}), spec(dims)).eval()
    wake(model, 0.05)
    settings = sampler(4, guidance=1.5)
    condition = spec(dims).conditions.nothing(5)
    together = model.sample(Batch(condition), [1, 2, 3, 4, 2], settings)
    alone = model.sample(Batch(condition[:1]), [3], settings)
    assert together.shape == (5, 1, *[8] * dims) and together.abs().max() <= 1
    torch.testing.assert_close(together[2:3], alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(together[1], together[4], atol=1e-4, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_guidance_of_one_is_the_conditional_model_and_more_moves_away_from_the_unconditional():
    torch.manual_seed(0)
    model = build(small(), spec()).eval()
    wake(model)
    for block in model.modules():
        if hasattr(block, "film"):
            torch.nn.init.normal_(block.film.weight, std=0.05)
            torch.nn.init.normal_(block.conv2.weight, std=0.05)
    condition = spec().conditions.encode(pd.DataFrame({"pathology": ["a"]}))
    one, two, none = (
        model.sample(Batch(c), [0], sampler(2, guidance=g))
        for c, g in [(condition, 1.0), (condition, 2.0), (spec().conditions.nothing(1), 1.0)]
    )
    assert (one - none).abs().max() > 1e-3 and (two - one).abs().max() > 1e-3


def test_a_field_is_guided_on_its_own():
    torch.manual_seed(0)
    fields = FIELDS | {"sex": config.Categorical(kind="categorical", values=("female", "male"))}
    of_two = ImageSpec(1, (8, 8), ConditionSchema(fields, 2))
    model = build(small(), of_two).eval()
    wake(model)
    for block in model.modules():
        if hasattr(block, "film"):
            torch.nn.init.normal_(block.film.weight, std=0.05)
            torch.nn.init.normal_(block.conv2.weight, std=0.05)
    schema = of_two.conditions
    both = schema.encode(pd.DataFrame({"pathology": ["a"], "sex": ["female"]}))
    x, sigma = torch.randn(1, 1, 8, 8), torch.ones(1)
    x = model.stages[0].to_latent(model.pyramid.encode(x)[0][0])

    def denoised(condition, **changes):
        return model.guided(0, Batch(condition), None, None, sampler(2, **changes))(x, sigma[0])

    own, without = denoised(both), denoised(schema.without(both, "sex"))
    assert (own - without).abs().max() > 1e-4
    torch.testing.assert_close(denoised(both, guidance={"sex": 2.5}), own + 1.5 * (own - without))
    no_pathology = denoised(schema.without(both, "pathology"))
    expected = own + 1.5 * (own - without) + 0.5 * (own - no_pathology)
    torch.testing.assert_close(denoised(both, guidance={"sex": 2.5, "pathology": 1.5}), expected)


def test_training_visits_every_level_that_sampling_may_ask_for():
    # Between 40 and 80 lies log(2) of log(80 / 0.002) of the even share: 0.1 * 0.0654; ln N(-0.6, 1.3) adds 0.0005.
    stage = build(small(p_tails=0.1), spec()).stages[0]
    levels = stage.noise_level((torch.arange(200_000) + 0.5) / 200_000)
    assert (levels > 40).float().mean() == pytest.approx(0.1 * math.log(2) / math.log(40_000) + 0.9 * 0.00048, rel=0.03)
    assert pytest.approx(float(levels.min()), rel=0.01) == 0.002 and float(levels.max()) == pytest.approx(80, rel=0.01)
    plain = build(small(p_tails=0), spec()).stages[0].noise_level((torch.arange(20_000) + 0.5) / 20_000)
    assert plain.log().mean() == pytest.approx(-0.6, abs=0.01) and plain.log().std() == pytest.approx(1.3, abs=0.01)


def learnt(model, batches) -> float:
    """The mean loss on fresh batches after some steps of training."""
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(150):
        optimiser.zero_grad()
        model.loss(batches(), "stage_1")["stage_1"].mean().backward()
        optimiser.step()
    with torch.no_grad():
        return float(torch.stack([model.loss(batches(), "stage_1")["stage_1"].mean() for _ in range(40)]).mean())


def test_a_network_that_is_told_of_the_augmentation_learns_more_than_one_that_is_not():
    # The same picture, turned and moved: what is unknown of it is the augmentation alone.
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    picture = (torch.exp(-8 * (x - 0.3) ** 2 - 20 * y**2) * 1.6 - 0.8).expand(64, 1, 16, 16)
    settings = Augmentation(probability=1, shift=0.15, rotation_degrees=25, scale=0.2)
    condition = spec(size=16).conditions.nothing(64)

    def told() -> Batch:
        return augment(Batch(condition, picture), spec(size=16).conditions, settings, (0, 1))

    def untold() -> Batch:
        return replace(told(), augmentation=None)

    losses = []
    for batches in (told, untold):
        torch.manual_seed(0)
        model = build(small(p_mean=2, p_std=0.5, p_tails=0), spec(size=16))  # noise in which little is seen
        model.begin([told().image], {})
        losses.append(learnt(model, batches))
    assert losses[0] < 0.8 * losses[1], losses


def test_a_stage_is_told_how_noisy_its_coarser_image_is():
    torch.manual_seed(0)
    model = build(small(stages=2, coarse_noise=0.5), spec())
    wake(model, 0.1)
    torch.nn.init.normal_(model.stages[1].unet.encoder[0][0].film.weight, std=0.1)
    torch.nn.init.normal_(model.stages[1].unet.encoder[0][0].conv2.weight, std=0.1)
    images = torch.randn(512, 1, 8, 8)
    model.begin([images], {})
    _, _, coarse, level = model.lesson(Batch(spec().conditions.nothing(512), images), 1)
    clean = model.pyramid.encode(images)[1][1]
    assert float(level.min()) >= 0 and float(level.max()) <= 0.5
    spread = ((coarse - clean) / model.stages[1].coarse_scale).flatten(1).std(1)
    assert torch.corrcoef(torch.stack([spread, level]))[0, 1] > 0.9
    x, batch = torch.randn(1, 3, 4, 4), Batch(spec().conditions.nothing(1))
    quiet, noisy = (model.given(1, batch, clean[:1], torch.full([1], share)) for share in (0.0, 0.5))
    assert (model.stages[1](x, torch.ones(1), quiet) - model.stages[1](x, torch.ones(1), noisy)).abs().max() > 1e-4


def test_autoguidance_moves_away_from_the_guide():
    torch.manual_seed(0)
    model = build(small(stages=2), spec()).eval()
    condition = spec().conditions.nothing(2)
    plain, guided = sampler(3), sampler(3, autoguidance=1.5)
    with pytest.raises(InputError, match="no early state"):
        model.sample(Batch(condition), [0, 1], guided)
    wake(model)
    model.guide = copy.deepcopy(model)
    torch.testing.assert_close(
        model.sample(Batch(condition), [0, 1], guided), model.sample(Batch(condition), [0, 1], plain)
    )
    for stage in model.guide.stages:
        torch.nn.init.zeros_(stage.unet.leave[-1].weight)
    unguided = model.sample(Batch(condition), [0, 1], plain)
    assert (model.sample(Batch(condition), [0, 1], guided) - unguided).abs().max() > 1e-3
    outside = guided.model_copy(update={"guided": (200, 300)})  # above every noise level
    torch.testing.assert_close(model.sample(Batch(condition), [0, 1], outside), unguided)


def test_gradient_checkpointing_changes_no_gradient():
    batch = Batch(spec().conditions.nothing(4), torch.randn(4, 1, 8, 8))
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = build(small(training={"gradient_checkpointing": checkpointing}), spec())
        wake(model, 0.1)
        torch.manual_seed(1)
        model.loss(batch, "stage_1")["stage_1"].mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(InputError, match=r"size \[10, 10\] is not divisible by 4, which a stage of 2"):
        build(small(), spec(size=10))


def test_every_stage_learns_from_the_same_images_and_takes_the_coarser_one():
    torch.manual_seed(0)
    model = build(small(stages=3), spec(size=16))
    images = torch.nn.functional.interpolate(torch.randn(64, 1, 4, 4), 16, mode="bilinear")
    model.begin([images], {})
    terms = {}
    batch = Batch(spec().conditions.nothing(64), images)
    for phase in model.phases:
        terms |= model.loss(batch, phase.name)
    assert {name: tuple(term.shape) for name, term in terms.items()} == {f"stage_{n}": (64,) for n in (1, 2, 3)}
    assert all(term.mean().item() == pytest.approx(1, abs=0.2) for term in terms.values())
    wake(model, 0.1)
    dark, bright = (model.given(2, Batch(spec().conditions.nothing(1)), level * torch.ones(1, 1, 8, 8))
                    for level in (-1, 1))  # fmt: skip
    x = torch.randn(1, 3, 8, 8)
    assert (model.stages[2](x, torch.ones(1), dark) - model.stages[2](x, torch.ones(1), bright)).abs().max() > 1e-3


def test_a_stage_with_a_share_learns_from_that_part_of_the_batch_with_the_weight_of_all():
    torch.manual_seed(0)
    stages = [{"channels": [8]}, {"channels": [8], "share": 0.25}]
    model = build(Diffusion(family="diffusion", stages=stages), spec())
    images = torch.randn(64, 1, 8, 8)
    model.begin([images], {})
    losses = model.loss(Batch(spec().conditions.nothing(64), images), "stage_2")["stage_2"]
    assert (losses[:16] > 0).all() and (losses[16:] == 0).all() and losses.mean().item() == pytest.approx(1, abs=0.3)


def test_networks_in_bfloat16_give_nearly_the_same_images_in_float32():
    torch.manual_seed(0)
    model = build(small(stages=2), spec()).eval()
    wake(model)
    condition = spec().conditions.nothing(4)
    exact, rounded = (
        model.sample(Batch(condition), range(4), sampler(4, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.1


@pytest.mark.parametrize("dims", [2, 3])
def test_a_stage_learns_from_patches_of_its_share_at_all_places(dims):
    stages = [{"channels": [8, 8]}, {"channels": [8, 8], "patch": 0.5}]
    model = build(Diffusion(family="diffusion", stages=stages), spec(dims, 16), {})
    images = torch.randn(4, 1, *[16] * dims)
    model.begin([images], {})
    seen = []
    model.stages[1].unet.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[2:]))
    batch = Batch(model.spec.conditions.nothing(4), images)
    losses = model.loss(batch, "stage_2")["stage_2"]
    assert losses.shape == (4,) and seen == [torch.Size([4] * dims)]
    windows = [model._window(1)[2:] for _ in range(200)]
    assert {window[-1].start for window in windows} == {0, 2, 4}  # whole steps of the network's own halving
    assert all(part.stop - part.start == 4 for window in windows for part in window)
    assert model._window(0)[2:] == (slice(0, model.shape_of(0)[1]),) * dims


def test_a_patch_of_the_whole_image_draws_no_random_number():
    model = build(small(2), spec(2, 16), {})
    torch.manual_seed(0)
    model._window(1)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_losses_of_whole_images_are_refused_beside_patches():
    with pytest.raises(ValidationError, match="losses edge compare whole images, got a stage with a patch below 1"):
        Diffusion(family="diffusion", stages=[{"channels": [8], "patch": 0.5}], losses={"edge": {"weight": 1}})
