"""A store with lesions: bright spots in images of `high`, none in those of `low`."""

import numpy as np
import pytest

from medsynth.artifacts.store import Store, StoreInfo

PLACE = ("lesion_x", "lesion_y", "lesion_size")


@pytest.fixture
def spotted(store) -> Store:
    conditions = store.info.model_dump()["conditions"]
    conditions |= {
        "severity": {"kind": "number", "range": [0, 1]},
        "lesion": {"kind": "lesions", "severity": "severity"},
    }
    samples, images = store.samples.assign(severity="n/a", **dict.fromkeys(PLACE, "n/a")), store.images.copy()
    rng = np.random.default_rng(0)
    for row in np.flatnonzero(samples["pathology"] == "high"):
        x, y = rng.integers(4, 12, 2)
        images[row, :, y - 2 : y + 2, x - 2 : x + 2] = 65535
        cells = {"lesion_x": x / 16, "lesion_y": y / 16, "lesion_size": 0.25, "severity": 0.5}
        for column, value in cells.items():
            samples.loc[row, column] = f"{value:g}"
    info = StoreInfo.model_validate(store.info.model_dump() | {"conditions": conditions})
    return Store(info, images, None, samples)
