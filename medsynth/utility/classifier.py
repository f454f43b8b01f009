"""A small classifier, trained for a number of steps on batches from pools of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import to_intensity
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.training import Augmentation
from medsynth.config.utility import Utility
from medsynth.machine.devices import memory_format
from medsynth.models.augmentation import augment
from medsynth.models.contract import Batch

POOL = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
BLOCK = 256  # images that are averaged down at once
CLASSICAL = Augmentation(probability=0.8, shift=0.08, rotation_degrees=10, scale=0.1)  # what any team would do
WEIGHT_DECAY = 0.01


def seen_at(images: Images, side: int) -> Tensor:
    """uint16 images (n, C, *spatial), averaged down to at most `side` a side: float32 in [-1, 1]."""
    parts = []
    for start in range(0, len(images), BLOCK):
        block = torch.from_numpy(to_intensity(images[start : start + BLOCK]))
        shape = tuple(min(side, extent) for extent in block.shape[2:])
        parts.append(POOL[len(shape)](block, shape))  # type: ignore[arg-type]
    return torch.cat(parts)


def network(channels: int, classes: int, spatial_dims: int, widths: Sequence[int]) -> nn.Module:
    """A residual network (He et al. 2016) with one block at each of four resolutions, the first the image's own."""
    return ResNet("basic", [1] * len(widths), list(widths), spatial_dims, channels, conv1_t_size=3, no_max_pool=True,
                  num_classes=classes)  # fmt: skip


def probabilities(
    images: Tensor,
    labels: np.ndarray,
    phases: Sequence[tuple[np.ndarray, float]],
    test: Tensor,
    classes: int,
    schema: ConditionSchema,
    flip_axes: Sequence[int],
    settings: Utility,
    seed: int,
) -> np.ndarray:
    """What a classifier that was trained on some images makes of others: (m, classes).

    Args:
        images: (n, C, *spatial); labels: (n,) class of each.
        phases: positions that batches are drawn from, one phase after the other, each with its share of the steps.
        test: (m, C, *spatial).
        flip_axes: axes of (*spatial) that may be mirrored.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    dims = images.ndim - 2
    layout = memory_format(dims)
    model = network(images.shape[1], classes, dims, settings.channels).to(memory_format=layout)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=WEIGHT_DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, settings.steps)
    targets = torch.from_numpy(labels.astype(np.int64))
    nothing = schema.nothing(settings.batch_size)
    for rows in batches(phases, settings.steps, settings.batch_size, rng):
        batch = augment(Batch(nothing, images[rows]), schema, CLASSICAL, flip_axes)
        assert batch.image is not None
        loss = F.cross_entropy(model(batch.image.contiguous(memory_format=layout)), targets[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        cycle.step()
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part).softmax(1) for part in test.split(BLOCK)]).double().numpy()


def batches(
    phases: Sequence[tuple[np.ndarray, float]], steps: int, size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Positions (size,) of each step: a phase goes through its pool in random order, again and again."""
    found: list[np.ndarray] = []
    for number, (pool, share) in enumerate(phases):
        count = steps - len(found) if number == len(phases) - 1 else round(share * steps)
        rounds = -(-count * size // len(pool))
        order = np.concatenate([rng.permutation(pool) for _ in range(rounds)] or [np.empty(0, np.int64)])
        found += list(order[: count * size].reshape(count, size))
    return found
