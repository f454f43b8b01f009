"""A student of a trained diffusion model that draws each stage in a few evaluations: consistency distillation.

Each stage learns to give, from every noise level, the end of the teacher's path from there: what it gives itself one
step of the teacher nearer to the data is the target (Song et al. 2023, Algorithm 2). The step is the solver's first, so
of first order with dpm_solver. The teacher's guidance goes into the student's weights: a step of the student is one
evaluation, and not two or three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from medsynth.config.families.consistency import Consistency, ConsistencySampler
from medsynth.config.families.diffusion import Diffusion
from medsynth.config.family import Family
from medsynth.errors import InputError
from medsynth.models.contract import Batch, GenerativeModel, ImageSpec, Phase
from medsynth.models.diffusion.denoiser import Given, over_batch
from medsynth.models.diffusion.solvers import NO_BREAKS, SOLVERS, Denoise, noise_levels, schedule
from medsynth.models.families.diffusion import DiffusionModel, Noise


class ConsistencyModel(GenerativeModel):
    """The teacher's cascade, whose stages are trained anew from the teacher's weights, each in its turn."""

    averaged = ("student",)
    holds = True

    def __init__(self, settings: Consistency, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(spec)
        teacher = parents["teacher"]
        assert isinstance(teacher, Diffusion)  # the configuration admits no other
        self.settings = settings
        self.taught = teacher.sampler.model_copy(update={"steps": settings.steps})  # the paths that are learnt
        untold = {"training": settings.training, "adversarial": None}
        self.student = DiffusionModel(teacher.model_copy(update=untold), spec, {})
        self.learns_from = teacher.trained_by()
        self.phases = tuple(
            Phase(phase.name, tuple(f"student.{path}" for path in phase.modules))
            for index, phase in enumerate(self.student.of_stages)
            if schedule(self.taught, index)[0] > 1
        )
        self._teacher: tuple[DiffusionModel, ...] = ()  # in a tuple: no part of this module, nor of its weights

    def begin(self, blocks: Iterable[Tensor], parents: Mapping[str, GenerativeModel]) -> None:
        teacher = parents.get("teacher")
        if not isinstance(teacher, DiffusionModel):
            got = "none" if teacher is None else type(teacher).__name__
            raise InputError(f"a consistency model learns from a trained diffusion model, got {got}")
        if teacher.settings.trained_by() != self.learns_from:
            raise InputError("the teacher was trained by other settings than those that its student names")
        known = teacher.state_dict()
        self.student.load_state_dict({name: known[name] for name in self.student.state_dict()})
        self._teacher = (teacher,)

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """At one noise level, drawn for the whole batch."""
        return {phase: self._errors(batch, phase, everywhere=False)}

    def score(self, batch: Batch) -> Tensor:
        """At all noise levels."""
        return torch.stack([self._errors(batch, phase.name, everywhere=True) for phase in self.phases]).sum(0)

    def membership_scores(self, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Of the student's stages, whose ends of paths stand in for denoised images."""
        return self.student.membership_scores(batch, seeds)

    def canary_loss(self, batch: Batch) -> Tensor:
        """The student learns as a denoiser does, since its teacher is not at hand."""
        return self.student.canary_loss(batch)

    def networks(self) -> list[nn.Module]:
        guides = [teacher.guide.stages for teacher in self._teacher if teacher.guide is not None]
        teachers = [stage for stages in (*(t.stages for t in self._teacher), *guides) for stage in stages]
        return [*super().networks(), *teachers]

    def _stage_of(self, phase: str) -> int:
        return [each.name for each in self.student.of_stages].index(phase)

    def _errors(self, batch: Batch, phase: str, everywhere: bool) -> Tensor:
        """The mean error (N,) at every step of the teacher's path, or at one drawn at random."""
        index = self._stage_of(phase)
        seen, bands, coarse, level = self.student.lesson(batch, index)
        given = self.student.given(index, seen, coarse, level)
        (teacher,) = self._teacher
        denoise = teacher.guided(index, seen, coarse, level, self.taught)
        levels = noise_levels(*schedule(self.taught, index), self.taught.rho)
        steps = range(len(levels) - 1) if everywhere else [int(torch.randint(len(levels) - 1, ()))]
        latent = self.student.stages[index].to_latent(bands)
        errors = [self._error(index, latent, given, denoise, levels[step : step + 2]) for step in steps]
        return over_batch(torch.stack(errors).mean(0), len(batch))

    def _error(self, index: int, latent: Tensor, given: Given, denoise: Denoise, levels: Tensor) -> Tensor:
        """How far (N,) the student's end of a path is from its own end one step nearer; levels: (2,), falling."""
        stage = self.student.stages[index]
        here, nearer = (level.to(latent.device).expand(len(latent)) for level in levels)
        noisy = latent + levels[0] * torch.randn_like(latent)
        end = stage(noisy, here, given)  # before the target: autocast remembers weights that it cast without gradient
        with torch.no_grad():
            target = SOLVERS[self.taught.solver](denoise, noisy, levels, NO_BREAKS)
            if levels[1] > 0:
                target = stage(target, nearer, given)
        return stage.error(end, target, here)

    @torch.no_grad()
    def sample(self, batch: Batch, seeds: Sequence[int], settings: ConsistencySampler) -> Tensor:
        """From pure noise at once, then again from each of the lower noise levels (Algorithm 1)."""
        student, batch = self.student, batch.to(self.device)
        holding = student.holding(batch)

        def draw(index: int, coarse: Tensor | None, noise: Noise) -> Tensor:
            stage, given = student.stages[index], student.given(index, batch, coarse)
            _, highest, _ = schedule(self.taught, index)
            latent: Tensor | None = None
            with student.autocast(settings.precision):
                for level in (highest, *settings.redraw[min(index, len(settings.redraw) - 1)]):
                    sigma, start = torch.full([len(seeds)], level, device=student.device), level * noise()
                    if latent is not None:
                        start = latent + start
                    elif holding:
                        start = holding.start(index, start)
                    latent = stage(start, sigma, given)
                    latent = holding.expected(index, latent) if holding else latent
            assert latent is not None  # there is a highest level
            return latent

        return student.descend(seeds, draw, holding=holding)
