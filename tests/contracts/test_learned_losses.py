"""A network that only the loss needs keeps the contract: training goes on with the same one, and none is released."""

import pytest
import torch

from medsynth.artifacts.tensors import read_tensors
from medsynth.models.checkpoint import load_model
from medsynth.train.loop import LAST, train
from medsynth.train.trainer import Trainer
from tests.contracts.examples import BATCH, CPU, EXAMPLES, settings_of, toy_store

LOSSES = {"perceptual": {"weight": 0.5}, "anatomical": {"weight": 0.5, "below": 2.0}}
ADVERSARIAL = {"start": 0.3, "channels": [8, 8]}
STEPS = 6


def settings_of_few_steps(**changes):
    settings = settings_of("diffusion", **changes)
    training = settings.model.training.model_copy(update={"images": STEPS * BATCH})
    return settings.model_copy(update={"model": settings.model.model_copy(update={"training": training})})


def assert_same_weights_without(part, one, other):
    first, second = (read_tensors(folder / "model.safetensors")[0] for folder in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert not [name for name in first if part in name]
    load_model(other / "model.safetensors", CPU)


@pytest.mark.parametrize("dims", [2, 3])
def test_killed_and_resumed_equals_unbroken_and_the_networks_are_not_released(dims, tmp_path):
    store = toy_store("mask", dims, EXAMPLES["diffusion"].side)
    settings = settings_of_few_steps(losses=LOSSES)
    train(settings, store, tmp_path / "unbroken")

    broken = Trainer(settings, store, CPU)
    terms = {"perceptual", "anatomical"}
    assert terms == {name.split(".")[1] for name in broken.model.state_dict() if name.startswith("terms.")}
    before = {name: tensor.clone() for name, tensor in broken.model.state_dict().items() if "terms." in name}
    for _ in range(STEPS - 2):
        means = broken.advance()
    assert {f"stage_{n}_{term}" for n in (1, 2) for term in terms} < means.keys()
    assert all(torch.equal(broken.model.state_dict()[name], tensor) for name, tensor in before.items())
    broken.save(tmp_path / "broken" / LAST)
    train(settings, store, tmp_path / "broken")

    assert_same_weights_without("terms", tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("dims", [2, 3])
def test_a_critic_of_details_is_gone_on_with_and_not_released(dims, tmp_path):
    store = toy_store("lesions", dims, side=16)  # on 2 voxels a side oneDNN rounds by where memory lies
    settings = settings_of_few_steps(adversarial=ADVERSARIAL)
    train(settings, store, tmp_path / "unbroken")
    broken = Trainer(settings, store, CPU)
    for _ in range(STEPS - 2):
        means = broken.advance()
    assert {"stage_2_adversarial", "critic", "penalty"} < means.keys()
    broken.save(tmp_path / "broken" / LAST)
    train(settings, store, tmp_path / "broken")
    assert_same_weights_without("critic", tmp_path / "unbroken", tmp_path / "broken")


def test_a_checkpoint_brings_its_own_networks(tmp_path):
    store = toy_store("mask", 2, EXAMPLES["diffusion"].side)
    settings = settings_of("diffusion", losses=LOSSES)
    first, second = (Trainer(settings, store, CPU) for _ in range(2))
    first.save(tmp_path / "c.safetensors")
    with torch.no_grad():
        for parameter in second.model.terms.parameters():
            parameter.zero_()
    second.restore(tmp_path / "c.safetensors")
    own = second.model.terms.state_dict()
    assert own and all(torch.equal(own[name], tensor) for name, tensor in first.model.terms.state_dict().items())
