import hashlib
import logging
import pickle
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medsynth.config.losses import Perceptual
from medsynth.errors import InputError
from medsynth.models.contract import Batch
from medsynth.models.losses.perceptual import PerceptualLoss
from medsynth.models.networks.blocks import AVERAGE_POOL
from tests.conditions.toys import FIELDS
from tests.models.losses.examples import lessons, toys

BUDGET = 500


def learnt(kind: str = "categorical", dims: int = 2, budget: int = BUDGET, **settings) -> tuple[PerceptualLoss, Batch]:
    """A loss that has begun, and held-out images."""
    store, spec, held_out = toys(kind, dims)
    loss = PerceptualLoss(Perceptual(weight=1, **settings), spec)
    loss.begin(lessons(store), budget, [(8,) * dims, (16,) * dims])
    return loss.requires_grad_(False), held_out


@pytest.mark.parametrize(("kind", "dims"), [*((kind, 2) for kind in FIELDS), ("mask", 3)])
def test_equal_images_have_no_distance_and_blur_has_more_the_more_there_is(kind, dims):
    loss, batch = learnt(kind, dims)
    assert not loss(batch.image, batch).any()
    blurred = AVERAGE_POOL[dims](batch.image, 3, stride=1, padding=1, count_include_pad=False)
    slight, strong = (loss(torch.lerp(batch.image, blurred, share), batch) for share in (0.3, 1.0))
    assert slight.shape == (8,) and (slight > 0).all() and (strong > slight).all()


def test_the_distance_is_that_of_directions():
    """Of one level of one channel, a feature has the direction 1 where it is above zero, and none where it is not."""
    _, spec, _ = toys("categorical")
    loss = PerceptualLoss(Perceptual(weight=1), spec)
    loss.begin(lessons(toys("categorical")[0]), 1, [(2, 2)])
    (level,) = loss.network.levels
    level[0].weight.data.zero_()
    level[0].weight.data[0, 0, 1, 1], level[0].bias.data[:] = 1, 0
    image = torch.tensor([[-1.0, 0.0], [0.1, 1.0]]).view(1, 1, 2, 2)
    lengths = [0, 0, 0.1 / 0.02**0.5, 1 / 1.01**0.5]  # x / sqrt(x^2 + 0.1^2)
    found = loss(image, Batch(None, torch.zeros_like(image))).item()
    assert found == pytest.approx(sum(length**2 for length in lengths) / 4, abs=1e-6)


def test_the_gradient_reaches_the_image_alone():
    loss, batch = learnt()
    image = (batch.image + 0.1 * torch.randn_like(batch.image)).requires_grad_()
    loss(image, batch).sum().backward()
    assert image.grad.isfinite().all() and image.grad.any()
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_the_same_lessons_give_the_same_network():
    one, other = (learnt()[0].state_dict() for _ in range(2))
    assert one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_log_says_how_well_the_network_has_learnt(caplog):
    with caplog.at_level(logging.INFO):
        learnt(budget=3000)
    (told,) = re.findall(r"features from 3008 images; blur and noise are told with ([\d.]+) of the error", caplog.text)
    assert float(told) < 0.9


def test_of_larger_images_the_same_part_of_both_is_compared():
    loss, _ = learnt()
    target = torch.zeros(2, 1, 80, 70)
    image = target.clone()
    image[..., :10, :] = 1  # a part of 64 x 64 sees from none to ten of these lines
    found = torch.stack([loss(image, Batch(None, target)) for _ in range(20)])
    assert len(found[:, 0].unique()) > 2
    assert not loss(image, Batch(None, image)).any()


def weights(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    save_file(tensors, path)
    return {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def network(*channels: int) -> dict[str, torch.Tensor]:
    """One convolution a level."""
    pairs = pairwise(channels)
    shapes = {f"{level}.0.weight": (out, into, 3, 3) for level, (into, out) in enumerate(pairs)}
    return {
        **{name: torch.randn(shape) for name, shape in shapes.items()},
        **{name.replace("weight", "bias"): torch.zeros(shape[0]) for name, shape in shapes.items()},
    }


def test_weights_of_a_file_are_taken_as_they_are(tmp_path):
    tensors = network(1, 4, 8) | {"1.1.weight": torch.randn(2, 8, 3, 3), "1.1.bias": torch.randn(2)}
    loss, batch = learnt(**weights(tmp_path / "w.safetensors", tensors))
    found = loss.network.levels.state_dict()
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert [level.shape[1:] for level in loss.network(batch.image)] == [(4, 16, 16), (2, 8, 8)]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (network(3, 4), r"0\.0\.weight is \[4, 3, 3, 3\], expected \[4, 1, 3, 3\]$"),
        (network(1, 4) | {"0.0.bias": torch.zeros(5)}, r"0\.0\.bias is missing or not of 4 channels$"),
        (network(1, 4) | {"head.weight": torch.zeros(2, 4)}, r"has head\.weight, expected <level>\.<convolution>"),
        ({}, r"has no tensor, expected <level>\.<convolution>"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(tmp_path, tensors, message):
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .*{message}"):
        learnt(**weights(path, tensors))


def test_weights_that_are_missing_changed_or_a_pickle_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    chosen = weights(path, network(1, 4))
    weights(path, network(1, 8))
    with pytest.raises(InputError, match=r"w\.safetensors: sha256 is [0-9a-f]{12}, the settings name [0-9a-f]{12}"):
        learnt(**chosen)
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\), expected weights"):
        learnt(**chosen)
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(InputError, match="not a safetensors file"):
        learnt(weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
