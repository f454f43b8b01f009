"""Images for rows of conditions, each from its own seed: what every step draws by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from medsynth import registry
from medsynth.artifacts.store import to_intensity, to_stored
from medsynth.conditions.schema import Condition, ConditionSchema
from medsynth.config import Sampler
from medsynth.errors import InputError
from medsynth.models.contract import Batch, GenerativeModel


@dataclass(frozen=True, eq=False)
class Held:
    """Images of which a region is drawn anew: what lies outside of it stays as it is.

    Attributes:
        images: uint16 (n, C, *spatial) as the store keeps them.
        region: float32 (n, *spatial) in [0, 1], 1 where the image is drawn anew.
    """

    images: np.ndarray
    region: np.ndarray


def generate(
    model: GenerativeModel,
    schema: ConditionSchema,
    rows: pd.DataFrame,
    sampler: Sampler,
    masks: np.ndarray | None = None,
    held: Held | None = None,
) -> np.ndarray:
    """Images for the rows of a plan: uint16 (n, C, *spatial) as the store keeps them.

    Args:
        rows: sample_id, seed, and the condition cells.
        masks: (n, *spatial) that the rows ask for, if any do.
        held: one image for each row; None draws all of every image.
    Raises:
        InputError: an image is not finite, or the model's family cannot hold one.
    """
    if held is not None and not model.holds:
        raise InputError(
            f"a {sampler.family} model cannot hold an image outside of a region, "
            f"expected one of {', '.join(holding_families())}"
        )
    if not len(rows):
        return np.zeros((0, model.spec.channels, *model.spec.size), np.uint16)
    condition = schema.encode(rows, masks)
    seeds: Sequence[int] = [int(seed) for seed in rows["seed"]]
    batches = []
    for start in tqdm(range(0, len(rows), sampler.batch_size), desc="sample", unit="batch", mininterval=5):
        part = slice(start, start + sampler.batch_size)
        images = model.sample(_batch(condition[part], part, held), seeds[part], sampler)
        if not torch.isfinite(images).all():
            raise InputError(
                f"{rows['sample_id'].iloc[start]} and its batch: samples are not finite, train the model anew"
            )
        batches.append(to_stored(images.float().cpu().numpy()))
    return np.concatenate(batches)


def _batch(condition: Condition, part: slice, held: Held | None) -> Batch:
    if held is None:
        return Batch(condition)
    image, region = torch.from_numpy(to_intensity(held.images[part])), torch.from_numpy(held.region[part])
    return Batch(condition, image, region=region)


def holding_families() -> list[str]:
    """The families whose models can draw a region of an image anew and hold the rest of it."""
    return [name for name, entry in registry.FAMILIES.items() if entry.load().holds]
