"""Simulated collections: the same whatever prepares them."""

import numpy as np
import pytest

from medsynth.artifacts.store import Store
from medsynth.errors import InputError
from medsynth.prepare.prepare import prepare
from tests.prepare.test_prepare import settings


def phantom(name="chest_xray", **changes):
    given = {
        "conditions": {"sex": {"kind": "categorical", "values": ["female", "male"]}},
        "label": "sex",
        "source": {"kind": "phantom", "phantom": name, "count": 12},
    }
    return settings("", **(given | changes))


@pytest.mark.slow
def test_a_phantom_is_the_same_in_any_process(tmp_path):
    alone = prepare(phantom(), tmp_path / "a")
    assert prepare(phantom(), tmp_path / "b", threads=2).digest == alone.digest
    assert prepare(phantom(seed=1), tmp_path / "c").digest != alone.digest
    whole = Store.open(tmp_path / "a", verify=True)
    assert whole.info.structures and whole.masks.shape == (12, 16, 16)
    fields = {"sex": {"kind": "categorical", "values": ["female", "male"]}, "outline": {"kind": "mask"}}
    outlined = prepare(phantom(conditions=fields), tmp_path / "m", threads=2)
    assert outlined.digest != alone.digest and outlined.condition_schema.map_channels == len(alone.structures) + 1
    assert np.array_equal(Store.open(tmp_path / "m").images, whole.images)  # asked for by other conditions
    assert whole.samples["image"].is_unique and set(whole.samples["sex"]) <= {"female", "male"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "ct"}, "phantom chest_xray is a chest_xray, the dataset's modality is ct"),
        ({"conditions": {"mood": {"kind": "categorical", "values": ["good"]}}, "label": "mood"}, "mood"),
    ],
)
def test_a_phantom_that_cannot_be_asked_for(tmp_path, changes, reason):
    with pytest.raises(InputError, match=reason):
        prepare(phantom(**changes), tmp_path / "out")
