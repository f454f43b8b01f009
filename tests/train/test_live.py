"""The rows of a training that is under way, for whoever looks on."""

import math

import pandas as pd
import pytest

from medsynth.artifacts import live
from medsynth.train.loop import train
from medsynth.train.trainer import Trainer
from tests.train.test_loop import settings


def test_the_rows_so_far_are_there_after_a_stop_and_gone_at_the_end(store, tmp_path, monkeypatch):
    advance = Trainer.advance

    def killed(trainer):
        if trainer.images_seen == 48:
            trainer.save(tmp_path / "checkpoints/last.safetensors")
            raise KeyboardInterrupt
        return advance(trainer)

    monkeypatch.setattr(Trainer, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings(validate_every=16), store, tmp_path)
    rows = live.rows(tmp_path / live.LIVE)
    assert [row["images_seen"] for row in rows] == [16, 32, 48]
    begun = []
    monkeypatch.setattr(
        Trainer, "advance", lambda trainer: begun.append(live.rows(tmp_path / live.LIVE)) or advance(trainer)
    )
    train(settings(validate_every=16), store, tmp_path)
    assert begun[0] == rows and len(pd.read_csv(tmp_path / "history.csv")) == 4
    assert not (tmp_path / live.LIVE).exists()


def test_a_score_that_was_not_measured_is_read_back_as_it_was(tmp_path):
    live.begin(tmp_path / "h.jsonl", [])
    live.add(tmp_path / "h.jsonl", {"step": 1, "val_loss": math.nan})
    [row] = live.rows(tmp_path / "h.jsonl")
    assert row["step"] == 1 and math.isnan(row["val_loss"])
