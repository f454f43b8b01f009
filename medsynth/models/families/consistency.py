"""A student of a trained diffusion model that draws each stage in a few evaluations: consistency distillation.

Each stage learns to give, from every noise level, the end of the teacher's path from there: what it gives itself one
step of the teacher nearer to the data is the target (Song et al. 2023, Algorithm 2). The step is the solver's first, so
of first order with dpm_solver. The teacher's guidance goes into the student's weights: a step of the student is one
evaluation, and not two or three.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from medsynth import config
from medsynth.conditions.kind import Condition
from medsynth.errors import InputError
from medsynth.models.contract import GenerativeModel, ImageSpec
from medsynth.models.denoiser import Given
from medsynth.models.families.diffusion import DiffusionModel, Noise, over_batch
from medsynth.models.solvers import SOLVERS, Denoise, noise_levels, schedule


class ConsistencyModel(GenerativeModel):
    """The teacher's cascade, whose stages are trained anew from the teacher's weights, each in its turn."""

    keeps_guide = False

    def __init__(self, settings: config.Consistency, spec: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        self.spec = spec
        self.student = DiffusionModel(settings.teacher.model_copy(update={"training": settings.training}), spec)
        self.players = self.judged = tuple(
            f"student.{player}"
            for index, player in enumerate(self.student.players)
            if schedule(settings.taught, index)[0] > 1
        )
        self._teacher: tuple[DiffusionModel, ...] = ()  # in a tuple: no part of this module, nor of its weights

    def begin(self, blocks: Iterable[Tensor], teacher: GenerativeModel | None) -> None:
        if not isinstance(teacher, DiffusionModel):
            got = "none" if teacher is None else type(teacher).__name__
            raise InputError(f"a consistency model learns from a trained diffusion model, got {got}")
        if teacher.settings != self.settings.teacher:
            raise InputError("the teacher was trained by other settings than those that its student names")
        known = teacher.state_dict()
        self.student.load_state_dict({name: known[name] for name in self.student.state_dict()})
        self._teacher = (teacher,)

    def loss(self, image: Tensor, condition: Condition, augmentation: Tensor, player: str) -> dict[str, Tensor]:
        """At one noise level, drawn for the whole batch; on held-out images, at all of them."""
        index = self.student.players.index(player.removeprefix("student."))
        bands, condition, coarse = self.student.lesson(image, condition, index)
        augmentation = augmentation[: len(bands)]
        given = self.student.given(index, condition, augmentation, coarse)
        (teacher,) = self._teacher
        denoise = teacher.guided(index, condition, augmentation, coarse, self.settings.taught)
        levels = noise_levels(*schedule(self.settings.taught, index), self.settings.taught.rho)
        steps = [int(torch.randint(len(levels) - 1, ()))] if torch.is_grad_enabled() else range(len(levels) - 1)
        latent = self.student.stages[index].to_latent(bands)
        errors = [self._error(index, latent, given, denoise, levels[step : step + 2]) for step in steps]
        return {f"stage_{index + 1}": over_batch(torch.stack(errors).mean(0), len(image))}

    def _error(self, index: int, latent: Tensor, given: Given, denoise: Denoise, levels: Tensor) -> Tensor:
        """How far (N,) the student's end of a path is from its own end one step nearer; levels: (2,), falling."""
        stage = self.student.stages[index]
        here, nearer = (level.to(latent.device).expand(len(latent)) for level in levels)
        noisy = latent + levels[0] * torch.randn_like(latent)
        end = stage(noisy, here, given)  # before the target: autocast remembers weights that it cast without gradient
        with torch.no_grad():
            target = SOLVERS[self.settings.taught.solver](denoise, noisy, levels)
            if levels[1] > 0:
                target = stage(target, nearer, given)
        return stage.error(end, target, here)

    @torch.no_grad()
    def sample(self, condition: Condition, seeds: Sequence[int], settings: config.ConsistencySampler) -> Tensor:
        """From pure noise at once, then again from each of the lower noise levels (Algorithm 1)."""
        student, taught = self.student, self.settings.taught
        condition = condition.to(student.device)

        def draw(index: int, coarse: Tensor | None, noise: Noise) -> Tensor:
            given = student.given(index, condition, student.no_augmentation(len(seeds)), coarse)
            _, highest, _ = schedule(taught, index)
            latent = torch.zeros(())
            with student.autocast(settings.precision):
                for level in (highest, *settings.redraw[min(index, len(settings.redraw) - 1)]):
                    sigma = torch.full([len(seeds)], level, device=student.device)
                    latent = student.stages[index](latent + level * noise(), sigma, given)
            return latent

        return student.descend(seeds, draw)
