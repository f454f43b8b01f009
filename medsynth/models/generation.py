"""Images for rows of conditions, each from its own seed: what every step draws by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from medsynth.artifacts.store import to_stored
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Sampler
from medsynth.errors import InputError
from medsynth.models.contract import Batch, GenerativeModel


def generate(
    model: GenerativeModel,
    schema: ConditionSchema,
    rows: pd.DataFrame,
    sampler: Sampler,
    masks: np.ndarray | None = None,
) -> np.ndarray:
    """Images for the rows of a plan: uint16 (n, C, *spatial) as the store keeps them.

    Args:
        rows: sample_id, seed, and the condition cells.
        masks: (n, *spatial) that the rows ask for, if any do.
    Raises:
        InputError: an image is not finite.
    """
    if not len(rows):
        return np.zeros((0, model.spec.channels, *model.spec.size), np.uint16)
    condition = schema.encode(rows, masks)
    seeds: Sequence[int] = [int(seed) for seed in rows["seed"]]
    batches = []
    for start in tqdm(range(0, len(rows), sampler.batch_size), desc="sample", unit="batch", mininterval=5):
        part = slice(start, start + sampler.batch_size)
        images = model.sample(Batch(condition[part]), seeds[part], sampler)
        if not torch.isfinite(images).all():
            raise InputError(
                f"{rows['sample_id'].iloc[start]} and its batch: samples are not finite, train the model anew"
            )
        batches.append(to_stored(images.float().cpu().numpy()))
    return np.concatenate(batches)
