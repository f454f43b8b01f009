"""How tuning sees images: through an extractor that no distance is measured in, and a reader of its own."""

from __future__ import annotations

import numpy as np

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store
from medsynth.conditions.kind import Reading
from medsynth.config.judges import other_extractor
from medsynth.judges.features import extract
from medsynth.judges.reader import TUNING_TRUNK, read, restored
from medsynth.tune.yardstick import Look


def looking(reference: Reference, store: Store) -> Look:
    """From stored images (n, C, *spatial) to their features, (n, d), and to what the reader reads from them."""
    shape = (len(store), *store.info.image_shape)
    readers = restored([reference.tuning_reader], TUNING_TRUNK, store.info.condition_schema, shape)
    extractor = other_extractor(reference.extractor, len(store.info.size))

    def look(images: np.ndarray) -> tuple[np.ndarray, Reading]:
        return extract(images, name=extractor), read(readers, images)

    return look
