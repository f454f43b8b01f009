"""Weights that come with the package: what they are, and a training that begins with them."""

import numpy as np
import pytest
import torch

from medsynth.artifacts.store import Store
from medsynth.artifacts.tensors import read_tensors
from medsynth.config import TrainSettings
from medsynth.config.base_model import bases
from medsynth.errors import InputError
from medsynth.models.base_model import ship
from medsynth.models.checkpoint import load_model, read_info
from medsynth.train.loop import train, with_base
from medsynth.train.trainer import Trainer
from tests.contracts.examples import CPU
from tests.train.test_loop import settings as tiny

SMALL = {"images": 8, "effective_batch_size": 8, "validate_every": 8}
SIDE = 64


@pytest.fixture
def larger(store) -> Store:
    """The store of 16 x 16 images, with images of 64 x 64."""
    images = np.repeat(np.repeat(store.images, SIDE // 16, 2), SIDE // 16, 3)
    info = store.info.model_copy(update={"size": (SIDE, SIDE)})
    return Store(info, images, None, store.samples)


def settings(base: str | None = None) -> TrainSettings:
    return TrainSettings.model_validate({"seed": 0, "model": {"family": "diffusion", "training": SMALL}, "base": base})


def test_a_training_begins_with_them_and_says_so(larger, tmp_path):
    [base] = bases()
    train(settings(base.sha256), larger, tmp_path)
    info = read_info(tmp_path / "model.safetensors")
    assert info.parents["details"].weights_sha256 == base.sha256 and info.parents["details"].simulated
    trainer = Trainer(settings(base.sha256), larger, CPU, parents=with_base(settings(base.sha256), larger.info))
    of_base, _ = read_tensors(base.weights)
    own = trainer.model.state_dict()
    for stage in (1, 2):
        name = f"stages.{stage}.unet.middle.conv1.weight"
        assert torch.equal(own[name], of_base[name].float())


def test_images_that_it_never_saw_are_denoised_better_from_the_first_step(larger):
    """Squares of noisy grey: what the base has learnt of images serves others."""
    [base] = bases()
    begun = Trainer(settings(base.sha256), larger, CPU, parents=with_base(settings(base.sha256), larger.info))
    scratch = Trainer(settings(), larger, CPU)
    assert begun.validate() < 0.8 * scratch.validate()


def test_other_weights_than_the_settings_name_are_refused(larger, tmp_path):
    with pytest.raises(InputError, match="expected weights with sha256 000000000000: make the settings with the same"):
        train(settings("0" * 64), larger, tmp_path)


def test_only_simulated_images_are_shipped_and_without_the_guide(store, tmp_path):
    for name, simulated in (("real", False), ("made", True)):
        info = store.info.model_copy(update={"simulated": simulated})
        train(tiny(images=16), Store(info, store.images, None, store.samples), tmp_path / name)
    with pytest.raises(InputError, match="learned from images that may show patients, only simulated ones"):
        ship(tmp_path / "real/model.safetensors", tmp_path / "out.safetensors")
    ship(tmp_path / "made/model.safetensors", tmp_path / "out.safetensors")
    tensors, _ = read_tensors(tmp_path / "out.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert not any(name.startswith("guide.") for name in tensors)
    model, info = load_model(tmp_path / "out.safetensors", CPU)
    assert model.guide is None and info.store.simulated
