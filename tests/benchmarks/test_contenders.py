from importlib.util import find_spec

import contenders
import numpy as np
import pytest
import torch
from contract import Task
from gan_peers import GAN_SETTINGS
from training_speed import noise_store

CPU = torch.device("cpu")
TINY = {"stages": [{"channels": [8]}] * 2, "training": {"effective_batch_size": 4}, "sampler": {"autoguidance": 1}}


def side(name: str) -> int:
    return 64 if name in GAN_SETTINGS else 16


def build(name: str, minutes: float = 1.0) -> contenders.Contender:
    changes = {} if name.startswith("medsynth") else {"batch_size": 4, "steps": 3}
    if name == "monai":
        changes["network"] = contenders.SETTINGS["monai"]["small"]["network"] | {"channels": (16, 32, 32)}
    if name == "denoising_diffusion_pytorch":
        pytest.importorskip("ema_pytorch", reason="the extra `bench` is not installed")
        changes["network"] = {"dim": 8, "dim_mults": (1, 2)}
    if name in GAN_SETTINGS:
        if None in map(find_spec, ("kornia", name)):
            pytest.skip("the extra `bench` and the GAN peers are not installed")
        thin = {"fmap_max": 8} | ({"network_capacity": 2} if name == "stylegan2_pytorch" else {})
        changes |= {"network": thin, "latent": 16, "learning_rate": 0.05}
    if name == "medsynth:stylegan":
        changes |= {"channels": [8], "training": {"effective_batch_size": 4}}
    return contenders.build(name, Task(noise_store((side(name),) * 2), CPU, 0, minutes, TINY), **changes)


@pytest.mark.parametrize("name", [*contenders.SETTINGS, "medsynth:stylegan"])
def test_a_contender_counts_its_images_and_samples_the_averaged_weights(name):
    contender = build(name)
    before = contender.sample(3, 0)
    for _ in range(3):
        contender.step()
    assert contender.images_seen == 12 and contender.parameters > 1000
    images = contender.sample(3, 0)
    assert images.dtype == np.uint8 and images.shape == (3, side(name), side(name))
    assert not np.array_equal(images, before)
    assert np.array_equal(images, contender.sample(3, 0))  # sampling neither trains nor draws from the training's noise


@pytest.mark.parametrize("name", [*contenders.SETTINGS, "medsynth:stylegan"])
def test_sampling_leaves_training_as_it_was(name):
    def trained(sampling: bool) -> np.ndarray:
        contender = build(name, minutes=1e9)  # else the learning rate would follow the clock
        contender.step()
        if sampling:
            contender.sample(2, 5)
        contender.step()
        return contender.sample(2, 1)

    assert np.array_equal(trained(True), trained(False))
