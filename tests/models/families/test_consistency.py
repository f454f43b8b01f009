"""Known answers: for Gaussian data the end of a path has a closed form, and an untrained teacher is the optimal one."""

from itertools import pairwise

import pandas as pd
import pytest
import torch

from medsynth.config.families.consistency import Consistency, ConsistencySampler
from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.errors import InputError
from medsynth.models.contract import Batch, build
from medsynth.models.diffusion.solvers import noise_levels
from tests.models.families.test_diffusion import small, spec, wake


def taught(*steps: int, **changes) -> DiffusionSampler:
    return DiffusionSampler(steps=steps, **{"autoguidance": 1, "sigma_max": [10], "sigma_min": [0.1]} | changes)


def teacher_of_noise(stages: int = 1, size: int = 8):
    """A teacher of white Gaussian pixels: its network is zero, and its preconditioning alone is optimal."""
    teacher = build(small(stages), spec(size=size))
    teacher.begin([0.3 * torch.randn(4096, 1, size, size)], {})
    return teacher.requires_grad_(False)


def student_of(teacher, sampler: DiffusionSampler):
    settings = Consistency(family="consistency", parents={"teacher": "t"}, steps=sampler.steps)
    of_teacher = teacher.settings.model_copy(update={"sampler": sampler})
    student = build(settings, teacher.spec, {"teacher": of_teacher})
    student.begin([], {"teacher": teacher})
    return student


def losses(student, count: int = 32, scale: float = 0.3) -> dict[str, torch.Tensor]:
    batch = Batch(student.spec.conditions.nothing(count), scale * torch.randn(count, 1, *student.spec.size))
    terms = [student.loss(batch, phase.name) for phase in student.phases]
    return {name: term for group in terms for name, term in group.items()}


def learn(student, steps: int) -> None:
    optimiser = torch.optim.Adam(student.parameters(), 3e-3)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        optimiser.zero_grad()
        sum(term.mean() for term in losses(student).values()).backward()
        optimiser.step()


def test_a_student_finds_the_end_of_every_path_of_gaussian_data():
    # The optimal denoiser of latent x ~ N(0, 1) is x / (1 + sigma^2), so that one step of the solver from a level to
    # the next multiplies x by (next / level) + (1 - next / level) / (1 + level^2).
    torch.manual_seed(0)
    student = student_of(teacher_of_noise(), taught(3))
    batch = Batch(student.spec.conditions.nothing(256))
    stage, given = student.student.stages[0], student.student.given(0, batch, None)
    learn(student, 250)
    levels = noise_levels(3, 10, 0.1, 7)
    end_of_path = 1.0
    for level, following in reversed(list(pairwise(levels.tolist()))):
        end_of_path *= following / level + (1 - following / level) / (1 + level**2)
        x = (1 + level**2) ** 0.5 * torch.randn(256, 4, 4, 4)
        with torch.no_grad():
            end = stage(x, torch.full((256,), level), given)
        assert float((end * x).sum() / x.square().sum()) == pytest.approx(end_of_path, rel=0.1), level
    assert end_of_path > 5 / (1 + 10**2)  # the student began at the mean of all that may lie under the noise


def test_a_student_begins_as_its_teacher_and_does_not_hold_it():
    teacher = teacher_of_noise(2, 16).requires_grad_(True)
    wake(teacher)
    student = student_of(teacher, taught(4, 4))
    known = {f"student.{name}": tensor for name, tensor in teacher.state_dict().items()}
    assert student.state_dict().keys() == known.keys()
    assert all(torch.equal(tensor, known[name]) for name, tensor in student.state_dict().items())
    for _ in range(8):  # at the last level alone, a student that is still its teacher has nothing to learn
        sum(term.mean() for term in losses(student).values()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(stage.unet.leave[-1].weight.grad.abs().sum() > 0 for stage in student.student.stages)


def test_a_stage_that_is_taught_in_one_step_has_nothing_to_learn():
    student = student_of(teacher_of_noise(2, 16), taught(4, 1))
    assert [phase.modules for phase in student.phases] == [("student.stages.0",)]
    assert losses(student).keys() == {"stage_1"}


def test_guidance_goes_into_the_target():
    torch.manual_seed(0)
    teacher = teacher_of_noise()
    teacher.guide = teacher_of_noise()
    wake(teacher, 0.5)
    found = []
    for strength in (1.0, 3.0):
        student = student_of(teacher, taught(4, autoguidance=strength, guided=(0, 100)))
        torch.manual_seed(1)
        found.append(losses(student)["stage_1"].mean().item())
    assert found[1] > 1.5 * found[0]  # the student, still the teacher, is farther from a guided path


@pytest.mark.parametrize("redraw", [((),), ((1.0, 0.3), (0.5,))])
def test_an_image_depends_on_its_own_seed_alone(redraw):
    teacher = teacher_of_noise(2, 16)
    wake(teacher)
    student, settings = student_of(teacher, taught(4)), ConsistencySampler(redraw=redraw)
    conditions = student.spec.conditions.encode(pd.DataFrame({"pathology": ["a", "b", "a"]}))
    together = student.sample(Batch(conditions), [5, 6, 7], settings)
    assert together.shape == (3, 1, 16, 16) and together.abs().max() <= 1
    torch.testing.assert_close(student.sample(Batch(conditions[1:2]), [6], settings)[0], together[1], atol=2e-5, rtol=0)
    assert (together[0] - together[2]).abs().mean() > 0.01


def test_redrawing_evaluates_again_at_the_levels_asked():
    student = student_of(teacher_of_noise(2, 16), taught(4))
    seen = []
    for stage in student.student.stages:
        stage.register_forward_pre_hook(lambda stage, inputs: seen.append((len(inputs[0][0]), float(inputs[1][0]))))
    student.sample(Batch(student.spec.conditions.nothing(1)), [0], ConsistencySampler(redraw=((2.0, 0.5), ())))
    assert [level for _, level in seen] == pytest.approx([10, 2, 0.5, 10])


def test_a_student_needs_the_teacher_that_its_settings_describe():
    student = student_of(teacher_of_noise(), taught(4))
    with pytest.raises(InputError, match="learns from a trained diffusion model, got none"):
        student.begin([], {})
    with pytest.raises(InputError, match="learns from a trained diffusion model, got ConsistencyModel"):
        student.begin([], {"teacher": student})
    with pytest.raises(InputError, match="trained by other settings than those that its student names"):
        student.begin([], {"teacher": build(small(whitening=0.5), spec())})


def test_every_weight_of_a_stage_learns_in_bfloat16_too():
    torch.manual_seed(0)
    teacher = teacher_of_noise()
    for parameter in teacher.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    student = student_of(teacher, taught(50))
    with torch.autocast("cpu", torch.bfloat16):
        losses(student)["stage_1"].mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in student.student.stages[0].unet.parameters())


def test_held_out_images_are_judged_at_every_level():
    teacher = teacher_of_noise()
    student, seen = student_of(teacher, taught(4)), []
    teacher.stages[0].register_forward_pre_hook(lambda stage, inputs: seen.append(float(inputs[1][0])))
    with torch.no_grad():
        score = student.score(Batch(student.spec.conditions.nothing(8), 0.3 * torch.randn(8, 1, 8, 8)))
    assert score.shape == (8,)
    assert seen == pytest.approx(noise_levels(4, 10, 0.1, 7)[:-1].tolist())
    losses(student)
    assert len(seen) == 4 + 1
