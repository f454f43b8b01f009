"""The estimate of a step's memory, against what a training really keeps."""

import re

import pytest
import torch

from medsynth import config
from medsynth.machine.memory import StepMemory, measure, peak_bytes
from medsynth.train import micro_batch
from medsynth.train.trainer import Trainer
from tests.train.test_loop import CPU, settings


@pytest.fixture
def measured(monkeypatch) -> list[StepMemory]:
    found: list[StepMemory] = []

    def noting(*arguments):
        found.append(measure(*arguments))
        return found[-1]

    monkeypatch.setattr(micro_batch, "measure", noting)
    return found


WIDE = [{"channels": [64, 64]}, {"channels": [32]}]  # weights that weigh more than the activations of a few images


@pytest.mark.parametrize("stages", [None, WIDE])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_of_a_training_is_what_its_step_takes(store, caplog, checkpointing, stages) -> None:
    caplog.set_level("INFO", "medsynth.train.micro_batch")
    options = {"effective_batch_size": 64, "batch_size": 32, "precision": "float32"}
    chosen = settings(**options, gradient_checkpointing=checkpointing)
    if stages:
        model = chosen.model.model_dump() | {"stages": stages}
        chosen = config.TrainSettings(seed=3, model=model)
    trainer = Trainer(chosen, store, CPU)
    (said,) = re.findall(r"a step of 32 images at once needs about (\S+) GiB", caplog.text)
    # Moments are made by the first step and stay: what is alive in the second is counted with them.
    moments = 2 * sum(p.nbytes for p in trainer.model.parameters() if p.requires_grad)
    trainer.advance()
    taken = moments + peak_bytes(trainer.advance, 1e12)
    assert float(said) * 2**30 == pytest.approx(taken, rel=0.2)


def test_the_estimate_covers_what_autograd_saves(store, measured) -> None:
    """Saved tensors by torch's own hooks, each storage once, weights and what was there before left out."""
    trainer = Trainer(settings(effective_batch_size=32, precision="float32"), store, CPU)
    own = {p.untyped_storage().data_ptr() for p in (*trainer.model.parameters(), *trainer.model.buffers())}
    most = 0
    for phase in trainer.model.phases:
        saved: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, saved=saved) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            trainer._losses(trainer.examples.gather([0] * 32), phase.name)["total"].sum()
        most = max(most, sum(t.untyped_storage().nbytes() for key, t in saved.items() if key not in own))
    step = max(measured, key=lambda step: step.each)
    assert most < 32 * step.each < 1.2 * most  # the rest are temporary tensors


def test_a_batch_that_is_set_and_does_not_fit_is_told_of(store, monkeypatch, caplog) -> None:
    monkeypatch.setattr(micro_batch, "measure", lambda *arguments: StepMemory(0, 2**30))
    monkeypatch.setattr(micro_batch, "free_on", lambda device: 4 * 2**30)
    trainer = Trainer(settings(batch_size=8), store, CPU)
    assert trainer.batch_size == 8
    assert (
        "a step of 8 images at once needs about 8 GiB" in caplog.text and "training.batch_size: 2 fits" in caplog.text
    )
