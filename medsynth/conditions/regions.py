"""The region of an image that is drawn anew for the things that a row places, and how it fades at its edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medsynth.conditions.schema import ConditionSchema

if TYPE_CHECKING:
    import pandas as pd

FADES = 0.5  # outer part of the region's depth: surroundings are twice as wide as lesions, which are drawn whole


def surroundings(schema: ConditionSchema, rows: pd.DataFrame, shape: Sequence[int]) -> np.ndarray:
    """(n, *shape) bool: what lies in or about a thing that each row places."""
    parts = schema.parts(schema.encode(rows))
    about = np.zeros((len(rows), *shape), bool)
    for name, kind in schema.kinds.items():
        plane = kind.surroundings(parts[name], shape)
        if plane is not None:
            about |= plane.numpy()
    return about


def fading(about: np.ndarray) -> np.ndarray:
    """float32 (*shape): 0 where a bool region is not, rising to 1 over the outer part of its depth."""
    from scipy.ndimage import distance_transform_edt

    if about.all():
        return np.ones(about.shape, np.float32)
    depth = distance_transform_edt(about)
    return np.clip(depth / max(1.0, FADES * float(depth.max())), 0, 1).astype(np.float32)
