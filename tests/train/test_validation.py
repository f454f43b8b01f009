"""Validation has one score, whatever goes through the network at once."""

import logging
from types import SimpleNamespace

import pytest

from medsynth.machine.processes import Processes
from medsynth.models.diffusion.denoiser import Denoiser
from medsynth.train import validation
from medsynth.train.loop import train
from medsynth.train.trainer import Trainer
from tests.train.test_loop import CPU, settings, student


@pytest.fixture
def sizes(monkeypatch):
    """How many images each call of a network has had."""
    called, forward = [], Denoiser.forward

    def noting(self, x, *others):
        called.append(len(x))
        return forward(self, x, *others)

    monkeypatch.setattr(Denoiser, "forward", noting)
    return called


def test_the_score_is_the_same_for_any_micro_batch(store, sizes, monkeypatch):
    whole = Trainer(settings(precision="float32", batch_size=8), store, CPU).validate()
    assert max(sizes) == 8  # as many as the split has
    for size in (1, 3):
        sizes.clear()
        trainer = Trainer(settings(precision="float32", batch_size=size), store, CPU)
        assert trainer.validate() == pytest.approx(whole, rel=1e-5) and max(sizes) == size
    monkeypatch.setattr(validation, "BLOCK", 4)
    other = Trainer(settings(precision="float32", batch_size=8), store, CPU).validate()
    assert other != pytest.approx(whole, rel=1e-5)  # the noise is that of the blocks


def test_processes_share_the_blocks_and_agree_on_the_score(store, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK", 3)
    trainer = Trainer(settings(), store, CPU)
    examples, scored, sums = trainer.validation.examples, [], []

    def mean(processes):
        def score(batch):
            scored.append(len(batch))
            return batch.image.mean((1, 2, 3))

        return validation.Validation(examples, 3, processes).mean(score, (), 8)

    whole = mean(Processes())
    assert scored == [3, 3, 2] and whole == pytest.approx(float(examples.gather(range(8)).image.mean()), rel=1e-5)
    for rank in range(2):
        other = SimpleNamespace(rank=rank, count=2, add_up=sums.extend, agree=lambda value, _: value)
        mean(other)
    assert scored[3:] == [3, 2, 3]
    total = sum(sums)
    assert total[1] == 8 and float(total[0] / total[1]) == pytest.approx(whole)


def test_no_score_is_none_in_every_process(store):
    trainer = Trainer(settings(), store, CPU)
    assert trainer.validation.mean(lambda batch: None, (), 8) is None


def test_a_validation_that_memory_runs_out_in_has_the_score_of_one_that_fits(store, sizes, monkeypatch, caplog):
    trainer = Trainer(settings(precision="float32"), store, CPU)
    whole, forward = trainer.validate(), Denoiser.forward

    def greedy(self, x, *others):
        if len(x) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, x, *others)

    monkeypatch.setattr(Denoiser, "forward", greedy)
    sizes.clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert trainer.validate() == pytest.approx(whole, rel=1e-5) and set(sizes) == {2}
    assert caplog.messages == [f"validation: out of memory; going on with {n} images at once" for n in (4, 2)]
    trainer.validate()
    assert len(caplog.messages) == 2  # it starts with what fitted
    assert trainer.batch_size == 8  # training has its own


@pytest.mark.parametrize(("size", "message"), [(8, "shapes do not fit"), (1, "out of memory")])
def test_other_errors_and_one_image_at_once_are_not_tried_again(store, monkeypatch, size, message):
    trainer, calls = Trainer(settings(batch_size=size), store, CPU), []

    def broken(*_):
        calls.append(1)
        raise RuntimeError(message)

    monkeypatch.setattr(Denoiser, "forward", broken)
    with pytest.raises(RuntimeError, match=message):
        trainer.validate()
    assert len(calls) == 1
    assert not any("forward" in vars(stage) for stage in trainer.model.stages)


def test_a_compiled_network_is_called_in_parts_too(store, sizes):
    trainer = Trainer(settings(precision="float32", batch_size=3), store, CPU)
    plain = trainer.validate()
    for stage in trainer.model.stages:
        stage.compile(backend="eager", dynamic=False)
    sizes.clear()
    assert trainer.validate() == pytest.approx(plain, rel=1e-5) and sizes == [3, 3, 2] * 2


def test_a_student_and_its_teacher_are_called_in_parts(store, sizes, tmp_path):
    train(settings(), store, tmp_path / "teacher")
    parents = {"teacher": tmp_path / "teacher" / "model.safetensors"}
    trainer = Trainer(student(), store, CPU, parents=parents)
    whole = trainer.validate()
    sizes.clear()
    trainer.batch_size = 2
    assert trainer.validate() == pytest.approx(whole, rel=0.01)  # bfloat16, where the processor has it
    assert set(sizes) == {2}
