"""What the tests of plans and of sampling share."""

from pathlib import Path

import numpy as np
import pytest

from medsynth import config
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.artifacts.tuned import Tuned
from medsynth.models.checkpoint import read_info


def settings(request: dict, shards: int = 1, **more) -> config.SampleSettings:
    wanted = {"request": request, "shards": shards}
    return config.SampleSettings(seed=0, dataset="d", model="m", plan=wanted, **more)


def tuned(weights: Path, path: Path, **changes) -> Path:
    """A sampler.json for some weights."""
    values = {
        "sampler": {"family": "diffusion", "steps": [3, 2]},
        "weights_sha256": read_info(weights).weights_sha256,
        "tried": 0,
        "images": 0,
        "changed": {},
        "note": "",
    }
    Tuned.model_validate(values | changes).write(path)
    return path


PER_CLASS = {"kind": "per_class", "column": "pathology", "counts": {"low": 5, "high": 2}}


@pytest.fixture
def outlined(store) -> Store:
    """The store with a square in each mask, which images can be asked for by."""
    masks = np.zeros((48, 16, 16), np.uint8)
    for row, mask in enumerate(masks):
        mask[row % 8 : row % 8 + 6, 4:10] = 2
    conditions = store.info.model_dump()["conditions"] | {"outline": {"kind": "mask"}}
    info = StoreInfo.model_validate(store.info.model_dump() | {"conditions": conditions, "structures": {"square": 2}})
    return Store(info, store.images, masks, store.samples)
