"""What is scored: subjects of a split, some images of each, by a model; one value a subject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from medsynth.artifacts.store import Store
from medsynth.errors import InputError
from medsynth.machine.devices import memory_format
from medsynth.models.contract import Batch, GenerativeModel


def rows_of(store: Store, split: str, subjects: int, images: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) positions in the store: of a split, at most so many subjects and so many images of each, drawn at random."""
    of_split = np.flatnonzero(store.samples["split"] == split)
    names = store.samples["subject_id"].to_numpy(dtype=str)[of_split]
    chosen = rng.permutation(np.unique(names))[:subjects]
    found = [rng.permutation(of_split[names == name])[:images] for name in np.sort(chosen)]
    return np.concatenate([np.empty(0, np.int64), *found])


def batch_of(store: Store, rows: np.ndarray, device: torch.device) -> Batch:
    """Some images of the store with their conditions."""
    part = store.take(rows)
    condition = store.info.condition_schema.encode(part.samples, part.masks)
    image = torch.from_numpy(part.intensities()).contiguous(memory_format=memory_format(len(store.info.size)))
    return Batch(condition, image).to(device)


def scored(
    model: GenerativeModel, store: Store, rows: np.ndarray, seeds: Sequence[int], batch_size: int, what: str
) -> pd.DataFrame:
    """The scores of subjects, the mean over their images: subject_id as index, a column for each score.

    Args:
        rows: (n,) positions in the store.
        what: for the bar and for errors.
    Raises:
        InputError: a score is not finite.
    """
    names = pd.Index(store.samples["subject_id"].to_numpy(dtype=str)[rows], name="subject_id")
    parts = []
    for start in tqdm(range(0, len(rows), batch_size), desc=f"membership: {what}", unit="batch", mininterval=5):
        part = slice(start, start + batch_size)
        found = model.membership_scores(batch_of(store, rows[part], model.device), seeds)
        arrays = {name: values.double().cpu().numpy() for name, values in found.items()}
        parts.append(pd.DataFrame(arrays, index=names[part]))
    table = pd.concat(parts)
    if wrong := [name for name in table if not np.isfinite(table[name]).all()]:
        raise InputError(f"membership: {wrong[0]} of {what} is not finite, train the model anew")
    return table.groupby(level=0).mean()
