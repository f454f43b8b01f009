"""What a training leaves of held-out images: those that fit, evenly spread, or none."""

import numpy as np
import pytest
import torch

from medsynth.artifacts.reconstructions import FILE, Reconstructions
from medsynth.errors import InputError
from medsynth.train import reconstruct as module
from medsynth.train.loop import train
from medsynth.train.reconstruct import reconstruct
from tests.contracts.examples import settings_of, toy_store

CPU = torch.device("cpu")


class Doubler:
    """A model whose reconstruction is the image at half of its contrast."""

    reconstructs, device = True, CPU

    def reconstruct(self, batch):
        return batch.image / 2


def test_images_are_spread_over_the_split_and_stored_as_the_store_keeps_them(monkeypatch):
    store = toy_store("categorical", 2)
    of_training = store.split("train")  # 32 images
    monkeypatch.setattr(module, "MOST_IMAGES", 5)
    made = reconstruct(Doubler(), of_training, batch_size=2)
    assert made.rows.tolist() == [0, 8, 16, 23, 31]
    expected = (of_training.images[made.rows] / 32767.5 - 1) / 2
    np.testing.assert_allclose(made.images / 32767.5 - 1, expected, atol=1e-4)
    monkeypatch.setattr(module, "MOST_VALUES", 2 * 64)
    assert reconstruct(Doubler(), of_training, 2).rows.tolist() == [0, 31]


def test_what_is_not_finite_is_refused(monkeypatch):
    monkeypatch.setattr(Doubler, "reconstruct", lambda self, batch: batch.image * float("nan"))
    with pytest.raises(InputError, match="not finite"):
        reconstruct(Doubler(), toy_store("categorical", 2).split("val"), 8)


@pytest.mark.parametrize(("family", "count"), [("vae", 1), ("diffusion", 0)])
def test_a_training_leaves_them_and_a_repeat_takes_them_back(family, count, tmp_path):
    settings = settings_of(family)
    settings.model.training.__dict__.update(images=16)
    store = toy_store("categorical", 2, side=16)
    train(settings, store, tmp_path)
    made = Reconstructions.read(tmp_path / FILE, store)
    assert len(made) == count and made.images.shape == (count, 1, 16, 16)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).unlink()
    train(settings, store, tmp_path)
    assert (tmp_path / FILE).read_bytes() == whole
