"""The end of a training: held-out images as the model reconstructs them, for families that do."""

from __future__ import annotations

import math

import numpy as np
import torch

from medsynth.artifacts.reconstructions import Reconstructions
from medsynth.artifacts.store import Store, to_stored
from medsynth.errors import InputError
from medsynth.models.contract import GenerativeModel
from medsynth.train.batches import Examples

MOST_IMAGES, MOST_VALUES = 256, 2**26  # of the test split, spread evenly


def reconstruct(model: GenerativeModel, test: Store, batch_size: int) -> Reconstructions:
    """Reconstruct images of the test split; none where the family does not.

    Args:
        model: with the weights that are kept.
        batch_size: images that go through the network at once.
    Raises:
        InputError: an image is not finite.
    """
    shape = test.info.image_shape
    if not model.reconstructs:
        return Reconstructions(np.zeros((0, *shape), np.uint16), np.zeros(0, np.int64))
    most = max(1, min(MOST_IMAGES, MOST_VALUES // math.prod(shape)))
    rows = np.unique(np.linspace(0, len(test) - 1, min(most, len(test))).round().astype(np.int64))
    made = np.zeros((len(rows), *shape), np.uint16)
    examples = Examples(test, model.device)
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        images = model.reconstruct(examples.gather(rows[part].tolist()))
        if not torch.isfinite(images).all():
            raise InputError(f"reconstructions of test images {start} and on are not finite, train the model anew")
        made[part] = to_stored(images.float().cpu().numpy())
    return Reconstructions(made, rows)
