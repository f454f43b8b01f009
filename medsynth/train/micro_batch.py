"""How many images go through the network at once, by the memory that a step takes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch

from medsynth.machine.devices import free_on
from medsynth.machine.memory import GIB, StepMemory, fitting_batch_size, measure
from medsynth.models.contract import GenerativeModel, Phase

log = logging.getLogger(__name__)

MOMENTS = 2  # of AdamW, for each weight

Attempt = Callable[[str, int], None]


def choose(
    model: GenerativeModel, attempt: Attempt, batch_size: int | Literal["auto"], largest: int, device: torch.device
) -> int:
    """The images of a micro-batch: those that are set, or what fits. Logs what a step needs and what is free.

    Args:
        attempt: runs forward and backward of a phase on so many images.
        largest: images of a micro-batch at most.
    Raises:
        InputError: not even one image fits.
    """
    free, auto = free_on(device), batch_size == "auto"
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    largest = largest if batch_size == "auto" else min(batch_size, largest)
    steps = (_memory_of(model, phase, attempt, largest, free) for phase in model.phases)
    step = max(steps, key=lambda step: step.of(largest))
    for name, buffer in model.named_buffers():  # the attempts are no training: what a model counts is as it was
        buffer.copy_(buffers[name])
    size = fitting_batch_size(step, largest, free) if auto else largest
    fits = step.of(size) <= free
    log.log(
        logging.INFO if fits else logging.WARNING,
        "a step of %d images at once needs about %.3g GiB, %.3g for each image; %.3g GiB are free on %s%s",
        *(size, step.of(size) / GIB, step.each / GIB, free / GIB, device),
        "" if fits else f": training.batch_size: {fitting_batch_size(step, size, free)} fits",
    )
    return size


def _memory_of(model: GenerativeModel, phase: Phase, attempt: Attempt, largest: int, free: int) -> StepMemory:
    """What a phase takes. Gradients are there before it is measured: they would hide what grows with the images."""
    moved = [parameter for path in phase.modules for parameter in model.get_submodule(path).parameters()]
    gradients = sum(parameter.nbytes for parameter in moved)
    moments = MOMENTS * sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    for parameter in moved:
        parameter.grad = torch.zeros_like(parameter)
    step = measure(partial(attempt, phase.name), largest, free, gradients + moments)
    model.zero_grad(set_to_none=True)
    return step
