"""Known answers: where everything is held, the noisy image is the held one and the noise; what is drawn follows it."""

import pytest
import torch

from medsynth.conditions.schema import ConditionSchema
from medsynth.config.families.consistency import ConsistencySampler
from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.models.contract import Batch, ImageSpec, build
from medsynth.models.diffusion.holding import Holding, touched
from medsynth.models.diffusion.solvers import NO_BREAKS, SOLVERS, noise_levels
from tests.models.families.test_consistency import student_of, taught
from tests.models.families.test_diffusion import FIELDS, small, spec, wake

CODECS = [("identity", 0), ("pixel_unshuffle", 1), ("haar", 2)]
LEVELS = noise_levels(12, 40, 0.01, 7)


def model_of(kind: str, levels: int, dims: int = 2, channels: int = 1, stages: int = 2, **codec):
    torch.manual_seed(0)
    of = ImageSpec(channels, (16,) * dims, ConditionSchema(FIELDS, dims))
    model = build(small(stages, codec={"kind": kind, "levels": levels, **codec}), of).eval()
    model.begin([0.3 * torch.randn(64, channels, *of.size)], {})
    wake(model, 0.05)
    return model


def smooth(channels: int, dims: int) -> torch.Tensor:
    """Two images within [-1, 1]."""
    grid = torch.meshgrid(*[torch.linspace(-1, 1, 16)] * dims, indexing="ij")
    image = torch.stack([torch.sin(3 * grid[0] + channel) * grid[-1] for channel in range(channels)])
    return torch.stack([image, -0.7 * image])


def test_a_stage_draws_each_pixel_that_the_region_touches():
    region = torch.zeros(1, 1, 4, 4)
    region[0, 0, 1, 2] = 0.01
    assert touched(region, 1)[0, 0].nonzero().tolist() == [[1, 2]] and touched(region, 1).max() == 1
    assert touched(region, 2)[0, 0].tolist() == [[0, 1], [0, 0]]
    assert touched(torch.zeros(1, 1, 4, 4, 4), 2).shape == (1, 1, 2, 2, 2)


@pytest.mark.parametrize(("kind", "levels"), CODECS)
@pytest.mark.parametrize("colour", ["rgb", "opponents"])
def test_what_is_held_is_the_image_under_the_samples_own_noise_at_every_level(kind, levels, colour):
    model, image = model_of(kind, levels, channels=3, colour=colour), smooth(3, 2)
    holding = Holding(model.pyramid, model.stages, image, torch.zeros(2, 16, 16))
    for index, ((bands, _), stage) in enumerate(zip(model.pyramid.encode(image), model.stages, strict=True)):
        known, noise, seen = stage.to_latent(bands), torch.randn(bands.shape), []

        def denoise(x, sigma, seen=seen):
            seen.append((x, sigma))
            return 0.3 * x

        for solve in SOLVERS.values():
            end = solve(holding.denoiser(index, denoise), holding.start(index, LEVELS[0] * noise), LEVELS, NO_BREAKS)
            torch.testing.assert_close(end, known, atol=1e-4, rtol=0)
        assert len(seen) > 3 * 11
        for x, sigma in seen:
            torch.testing.assert_close(x, known + sigma * noise, atol=1e-4, rtol=1e-4)


def test_each_stage_is_given_the_held_image_outside_of_what_the_stages_before_drew(monkeypatch):
    model, image = model_of("haar", 1, stages=3), smooth(1, 2)
    region = torch.zeros(2, 16, 16)
    region[:, 5:9, 5:9] = 1
    coarse, given = {}, model.given

    def seen(index, batch, image, level=None):
        coarse[index] = image
        return given(index, batch, image, level)

    monkeypatch.setattr(model, "given", seen)
    condition = model.spec.conditions.nothing(2)
    model.sample(Batch(condition, image, region=region), [1, 2], DiffusionSampler(steps=(3,), autoguidance=1))
    for index, factor in ((1, 4), (2, 2)):
        average = torch.nn.functional.avg_pool2d(image, factor)
        outside = torch.nn.functional.max_pool2d(region[:, None], factor) == 0
        torch.testing.assert_close(coarse[index][outside], average[outside], atol=1e-6, rtol=0)
        assert (coarse[index] - average)[~outside].abs().mean() > 0.05


def last_seen(model, stage, settings) -> torch.Tensor:
    """How far the last noisy image that a stage sees is from the held one, outside of the region."""
    image, region, seen = smooth(1, 2), torch.zeros(2, 16, 16), []
    region[:, 4:8, 4:8] = 1
    with stage.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        model.sample(Batch(model.spec.conditions.nothing(2), image, region=region), [1, 2], settings)
    return (stage.to_bands(seen[-1]) - image)[region[:, None] == 0].abs()


def test_a_diffusion_model_sees_what_is_held_down_to_the_lowest_level():
    model = model_of("identity", 0, stages=1)
    settings = DiffusionSampler(steps=(4,), sigma_max=(10,), sigma_min=(0.01,), autoguidance=1)
    assert last_seen(model, model.stages[0], settings).max() < 5 * 0.01


def test_a_student_sees_what_is_held_where_it_draws_again():
    teacher = model_of("identity", 0, stages=1)
    student = student_of(teacher, taught(4))
    assert last_seen(student, student.student.stages[0], ConsistencySampler(redraw=((1.0, 0.01),))).max() < 5 * 0.01


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_drawn_follows_what_is_held(solver):
    # Images of one grey level c ~ N(0, 1) each: of P pixels, D(x; sigma) = mean(x) P / (P + sigma^2). With three
    # quarters held at 0.5, the drawn quarter ends near 0.5 whatever its noise; with nothing held, the noise decides.
    model = build(small(1, codec={"kind": "identity"}), spec(size=16))
    image, region = torch.full((8, 1, 16, 16), 0.5), torch.zeros(8, 16, 16)
    region[:, 4:12, 4:12] = 1
    holding = Holding(model.pyramid, model.stages, image, region)

    def optimal(x, sigma):
        return x.mean((1, 2, 3), keepdim=True).expand_as(x) * 256 / (256 + sigma**2)

    noise = LEVELS[0] * torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    held = SOLVERS[solver](holding.denoiser(0, optimal), holding.start(0, noise), LEVELS, NO_BREAKS)
    free = SOLVERS[solver](optimal, noise, LEVELS, NO_BREAKS)
    inside = region[:, None].bool()
    assert (held[inside] - 0.5).abs().max() < 0.08
    assert (free.mean((1, 2, 3)) - 0.5).abs().max() > 0.5


@pytest.mark.parametrize(("kind", "levels"), CODECS)
@pytest.mark.parametrize(
    ("dims", "channels", "colour"), [(2, 1, "rgb"), (2, 3, "rgb"), (2, 3, "opponents"), (3, 1, "rgb")]
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_codec_holds_to_the_bit_and_draws_all_of_a_whole_region(kind, levels, dims, channels, colour, precision):
    model, image = model_of(kind, levels, dims, channels, colour=colour), smooth(channels, dims)
    region = torch.zeros(2, *[16] * dims)
    region[(slice(None), *[slice(3, 9)] * dims)] = 1
    condition = model.spec.conditions.nothing(2)
    settings = DiffusionSampler(steps=(3, 2), guided=(0, 100), guidance=2.0, autoguidance=1, precision=precision)
    drawn = model.sample(Batch(condition, image, region=region), [1, 2], settings)
    outside = (region == 0)[:, None].expand_as(drawn)
    assert torch.equal(drawn[outside], image[outside])
    assert (drawn - image)[~outside].abs().mean() > 0.05
    every = model.sample(Batch(condition, image, region=torch.ones_like(region)), [1, 2], settings)
    assert torch.equal(every, model.sample(Batch(condition), [1, 2], settings))
