"""A discriminator of the last stage's details: what it adds to a diffusion model, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medsynth import config
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.families.diffusion import Diffusion, DiffusionSampler
from medsynth.errors import InputError
from medsynth.models.contract import Batch, GenerativeModel, ImageSpec, build

ONE_STEP = DiffusionSampler(steps=(4, 1), autoguidance=1)
FIELDS = {"pathology": config.Categorical(kind="categorical", values=("a", "b"))}


def model_of(dims: int = 2, side: int = 8, **adversarial) -> GenerativeModel:
    settings = Diffusion(
        family="diffusion",
        codec={"kind": "identity"},
        stages=[{"channels": [8]}, {"channels": [16]}],
        adversarial={"channels": [16, 16], "start": 0, **adversarial},
    )
    return build(settings, ImageSpec(1, (side,) * dims, ConditionSchema(FIELDS, dims)), {})


def textured(count: int, dims: int = 2) -> torch.Tensor:
    """Images of one mean grey, whose details are white noise: nothing that a coarser image tells of."""
    coarse = torch.zeros(count, 1, *[4] * dims).repeat_interleave(2, 2).repeat_interleave(2, 3)
    coarse = coarse.repeat_interleave(2, 4) if dims == 3 else coarse
    noise = 0.3 * torch.randn_like(coarse)
    pool = {2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}[dims]
    mean = torch.nn.functional.interpolate(pool(noise, 2), scale_factor=2)
    return coarse + noise - mean + 0.05 * torch.randn(count, 1, *[1] * dims)


def strengths(model: GenerativeModel, images: torch.Tensor, steps: int) -> list[float]:
    """Standard deviation of details drawn in one step over that of true ones, every 20 training steps."""
    batch = Batch(model.spec.conditions.nothing(len(images)), images)
    optimisers = {
        phase.name: torch.optim.Adam(
            [p for path in phase.modules for p in model.get_submodule(path).parameters()], 2e-3, phase.betas
        )
        for phase in model.phases
    }
    found = []
    for step in range(steps):
        rows = torch.randint(len(images), (16,))
        for name, optimiser in optimisers.items():
            model.zero_grad()
            terms = model.loss(batch[rows], name)
            sum(model.term_weights.get(term, 1.0) * loss.mean() for term, loss in terms.items()).backward()
            optimiser.step()
        if step % 20 == 19:
            drawn = model.eval().sample(Batch(batch.condition), range(len(images)), ONE_STEP)
            details = drawn - drawn.flatten(1).mean(1).view(-1, *[1] * (drawn.ndim - 1))
            found.append(float(details.std() / images.std()))
            model.train()
    return found


@pytest.mark.parametrize("dims", [2, 3])
def test_details_drawn_in_one_step_are_as_strong_as_true_ones(dims):
    # In one step from noise the mean of all details is the best in squares, and that of white noise is nothing.
    torch.manual_seed(0)
    images = textured(64, dims)
    mean = {}
    for weight in (1e-6, 10.0):
        model = model_of(dims, weight=weight)
        model.begin([images], {})
        # The two players circle about what they are drawn to: no single step tells where that is.
        mean[weight] = np.mean(strengths(model, images, 300)[5:])
    assert mean[1e-6] < 0.35
    assert 0.6 < mean[10.0] < 1.6


def test_the_discriminator_begins_at_its_share_of_the_budget():
    model = model_of(start=0.5)
    images = textured(8)
    model.begin([images], {})
    batch = Batch(model.spec.conditions.nothing(8), images)
    (critic,) = (phase for phase in model.phases if phase.name == "critic")
    assert not critic.runs(0, 0.4) and critic.runs(0, 0.5)
    assert "stage_2_adversarial" not in model.loss(replace(batch, progress=0.4), "stage_2")
    assert "stage_2_adversarial" in model.loss(replace(batch, progress=0.5), "stage_2")
    assert "stage_1_adversarial" not in model.loss(replace(batch, progress=0.5), "stage_1")
    assert model.term_weights["stage_2_adversarial"] == 0.1


def test_each_side_moves_only_its_own_weights():
    model = model_of()
    model.begin([textured(8)], {})
    batch = Batch(model.spec.conditions.nothing(8), textured(8), progress=1.0)
    model.loss(batch, "stage_2")["stage_2_adversarial"].sum().backward()
    assert all(parameter.grad is None for parameter in model.critic.parameters())
    model.zero_grad()
    model.loss(batch, "critic")["critic"].sum().backward()
    assert all(parameter.grad is None for parameter in model.stages.parameters())
    assert any(parameter.grad.abs().max() > 0 for parameter in model.critic.parameters())


def test_it_is_no_part_of_what_is_saved_nor_of_the_score():
    model = model_of()
    images = textured(8)
    model.begin([images], {})
    assert not any(name.startswith("critic") for name in model.sampled_state())
    batch = Batch(model.spec.conditions.nothing(8), images)
    torch.manual_seed(0)
    score = model.score(batch)
    torch.manual_seed(0)
    torch.testing.assert_close(score, model.loss(batch, "stage_1")["stage_1"])


def test_one_stage_or_a_grid_that_cannot_be_halved_is_refused():
    with pytest.raises(InputError, match="one stage, adversarial judges the details of a second"):
        build(
            Diffusion(family="diffusion", stages=[{"channels": [8]}], adversarial={}),
            ImageSpec(1, (8, 8), ConditionSchema(FIELDS, 2)),
            {},
        )
    with pytest.raises(InputError, match=r"not divisible by 16, which 4 adversarial\.channels need"):
        model_of(channels=[8, 8, 8, 8])


@pytest.mark.parametrize("wrong", [{"weight": 0}, {"gamma": -1}, {"start": 1.5}, {"channels": []}, {"level": 1000}])
def test_values_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Diffusion(family="diffusion", adversarial=wrong)


def test_tune_tries_the_last_stage_in_one_step():
    settings = Diffusion(family="diffusion", adversarial={})
    assert settings.for_images((64, 64)).candidates([])["steps"][0] == (8, 6, 1)
    assert settings.for_images((256, 256)).candidates([])["steps"][0] == (8, 6, 5, 5, 1)
    assert Diffusion(family="diffusion").for_images((64, 64)).candidates([])["steps"] == ((16, 10, 5),)
