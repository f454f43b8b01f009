"""How the reader that tuning has for itself sees images."""

from __future__ import annotations

import numpy as np
import torch

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store
from medsynth.conditions.kind import Reading
from medsynth.judges.reader import TUNING_TRUNK, read, restored
from medsynth.tune.yardstick import Look


def looking(reference: Reference, store: Store) -> Look:
    """From stored images (n, C, *spatial) to what the reader's heads are given, (n, d), and to its readings."""
    shape = (len(store), *store.info.image_shape)
    (reader,) = restored([reference.tuning_reader], TUNING_TRUNK, store.info.condition_schema, shape)

    def look(images: np.ndarray) -> tuple[np.ndarray, Reading]:
        pooled: list[torch.Tensor] = []
        handle = reader.dropout.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
        try:
            reading = read([reader], images)
        finally:
            handle.remove()
        return torch.cat(pooled).double().numpy(), reading

    return look
