"""The strip of images over a training, which changes nothing of it."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medsynth.artifacts.tensors import read_tensors
from medsynth.train import strip as strips
from medsynth.train.loop import train
from medsynth.train.strip import Strip
from medsynth.train.trainer import Trainer
from tests.contracts.examples import CPU, settings_of, toy_store

SETTINGS = settings_of("diffusion", training={"images": 128, "effective_batch_size": 8, "guide_at": 0.5})

EARLY = {"images": 128, "effective_batch_size": 8, "guide_at": 0.25, "validate_every": 40, "patience": 1}


@pytest.fixture(scope="module")
def store():
    return toy_store("categorical", 2)


def drawn(monkeypatch) -> list[dict[int, np.ndarray]]:
    """What is put into each picture."""
    pictures, paint = [], strips.picture

    def noting(path, captions, rows, about):
        pictures.append({seen: images.copy() for seen, images in rows.items()})
        paint(path, captions, rows, about)

    monkeypatch.setattr(strips, "picture", noting)
    return pictures


def test_a_strip_has_the_same_samples_at_each_point(store, tmp_path, monkeypatch):
    pictures = drawn(monkeypatch)
    train(SETTINGS, store, tmp_path)
    (rows,) = pictures
    assert list(rows) == [8, 16, 32, 64, 128]
    assert all(images.shape == (8, 1, *store.info.size) and images.dtype == np.uint16 for images in rows.values())
    assert len({images.tobytes() for images in rows.values()}) == 5
    with Image.open(tmp_path / "strip.png") as picture:
        assert min(picture.size) > 500
    assert not list((tmp_path / "checkpoints").glob("strip*"))


def test_the_training_is_the_same_without_it(store, tmp_path, monkeypatch):
    train(SETTINGS, store, tmp_path / "with")
    monkeypatch.setattr(Strip, "draw", lambda self: None)
    train(SETTINGS, store, tmp_path / "without")
    one, two = (read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("with", "without"))
    assert all(torch.equal(one[name], two[name]) for name in one | two)


def test_a_training_that_resumes_has_all_of_them(store, tmp_path, monkeypatch):
    pictures = drawn(monkeypatch)
    train(SETTINGS, store, tmp_path / "whole")
    advance = Trainer.advance

    def killed(trainer):
        if trainer.images_seen == 40:
            trainer.save(tmp_path / "broken/checkpoints/last.safetensors")
            raise KeyboardInterrupt
        return advance(trainer)

    monkeypatch.setattr(Trainer, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train(SETTINGS, store, tmp_path / "broken")
    monkeypatch.setattr(Trainer, "advance", advance)
    train(SETTINGS, store, tmp_path / "broken")
    whole, resumed = pictures
    assert list(whole) == list(resumed)
    assert all(np.array_equal(images, resumed[seen]) for seen, images in whole.items())


def test_a_training_that_ends_early_has_a_row_of_its_end(store, tmp_path, monkeypatch):
    pictures = drawn(monkeypatch)
    monkeypatch.setattr(Trainer, "validate", lambda self: setattr(self, "stale", 1) or 1.0)
    early = settings_of("diffusion", training=EARLY)
    train(early, store, tmp_path)
    assert list(pictures[0]) == [8, 16, 32, 40]


def test_images_of_a_training_that_was_begun_anew_are_not_taken(store, tmp_path, monkeypatch):
    pictures = drawn(monkeypatch)
    trainer = Trainer(SETTINGS, store, CPU)
    trainer.images_seen = 128
    old = Strip(trainer, store.split("val"), tmp_path / "checkpoints")
    old.draw()
    assert (tmp_path / "checkpoints/strip_4.npz").exists()
    train(SETTINGS, store, tmp_path)
    trained = torch.cat([tensor.flatten() for tensor in read_tensors(tmp_path / "model.safetensors")[0].values()])
    assert trained.isfinite().all() and list(pictures[0]) == [8, 16, 32, 64, 128]
    assert len({images.tobytes() for images in pictures[0].values()}) == 5


def test_every_class_has_its_columns(store, tmp_path):
    strip = Strip(Trainer(SETTINGS, store, CPU), store.split("val"), tmp_path)
    counts = pd.Series(strip.captions).value_counts()
    assert counts.sum() == 8 and counts.max() - counts.min() <= 1 and len(counts) == len(set(store.label_values()))


def test_where_memory_is_short_a_point_is_left_out(store, tmp_path, monkeypatch, caplog):
    def short(self):
        raise MemoryError

    monkeypatch.setattr(Strip, "_images", short)
    train(SETTINGS, store, tmp_path)
    assert "strip.png: out of memory" in caplog.text and (tmp_path / "strip.png").stat().st_size
