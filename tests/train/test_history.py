"""What a row of history.csv says: means over the steps since the row before."""

from dataclasses import replace

import pytest

from medsynth.train.trainer import Trainer
from tests.train.test_loop import CPU, settings


def thinned(store) -> Trainer:
    """A training whose second phase runs in every fourth step."""
    trainer = Trainer(settings(), store, CPU)
    first, second = trainer.model.phases
    trainer.model.phases = (first, replace(second, every=4))
    return trainer


def test_a_term_is_the_mean_over_the_steps_that_had_it(store):
    trainer = thinned(store)
    steps = [{term: float(value) for term, value in trainer.advance().items()} for _ in range(6)]
    assert [sorted(step) for step in steps[3:]] == [["stage_1", "total"], ["stage_1", "stage_2", "total"],
                                                    ["stage_1", "total"]]  # fmt: skip
    trainer.record(None)
    row = trainer.history[-1]
    assert row["stage_1"] == pytest.approx(sum(step["stage_1"] for step in steps) / 6)
    assert row["stage_2"] == pytest.approx((steps[0]["stage_2"] + steps[4]["stage_2"]) / 2)
    assert row["total"] == pytest.approx(sum(step["total"] for step in steps) / 6)
    last = trainer.advance()
    trainer.record(None)
    assert trainer.history[-1]["stage_1"] == pytest.approx(float(last["stage_1"]))  # of this step alone
    assert "stage_2" not in trainer.history[-1]


def test_a_checkpoint_between_two_rows_loses_no_step(store, tmp_path):
    unbroken = thinned(store)
    for step in range(6):
        if step == 3:
            unbroken.save(tmp_path / "c.safetensors")
        unbroken.advance()
    resumed = thinned(store)
    resumed.restore(tmp_path / "c.safetensors")
    for _ in range(3):
        resumed.advance()
    for trainer in (unbroken, resumed):
        trainer.record(None)
    for term in ("stage_1", "stage_2", "total"):
        assert resumed.history[-1][term] == unbroken.history[-1][term]
