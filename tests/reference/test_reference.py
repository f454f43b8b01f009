import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store
from medsynth.config import ReferenceSettings
from medsynth.errors import InputError
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.features import extract
from medsynth.judges.planted import KINDS, WANTED
from medsynth.judges.reader import read, restored
from medsynth.reference.reference import look, reference

SETTINGS = ReferenceSettings(seed=0, reader_epochs=2, readers=2, planted_copies=8, extractor="efficientnet_lite0")


def test_what_is_written_is_read_back_and_judges_as_before(store, tmp_path):
    made = look(SETTINGS, store)
    reference(SETTINGS, store, tmp_path / "reference")
    found = Reference.open(tmp_path / "reference", store)
    assert found.store == made.store and found.extractor == made.extractor
    for part in ("index", "features", "similarity", "parts", "nearest", "planted", "planted_for_limits"):
        written, kept = getattr(found, part), getattr(made, part)
        assert written.keys() == kept.keys()
        for name, array in kept.items():
            assert np.array_equal(array, written[name]) and array.dtype == written[name].dtype
    train, test = store.split("train"), store.split("test")
    index = TrainingIndex.from_arrays(found.index)
    fitted = TrainingIndex(train.images)
    likeness, again = index.nearest(test.images), fitted.nearest(test.images)
    for part in ("whole", "parts", "position"):
        assert np.array_equal(getattr(likeness, part), getattr(again, part))
    assert np.array_equal(found.similarity["test"], likeness.whole)
    assert np.array_equal(found.parts["test"], likeness.parts)
    assert found.planted.keys() == KINDS.keys()
    assert found.planted_for_limits.keys() == WANTED.keys()
    for kind, others in found.planted_for_limits.items():
        assert others.shape == found.planted[kind].shape
    assert (found.planted_for_limits["turned 5°"] != found.planted["turned 5°"]).any()
    np.testing.assert_allclose(found.planted["exact"], 1, atol=1e-4)
    assert np.array_equal(found.features["test"], extract(test.images))
    assert sorted(found.chosen) == list(range(len(train)))
    schema, shape = store.info.condition_schema, store.images.shape
    assert found.trunk == made.trunk and found.trunk_losses == made.trunk_losses and len(found.readers) == 2
    states = ((*of.readers, of.tuning_reader) for of in (found, made))
    one, other = (restored(of, found.trunk, schema, shape) for of in states)
    assert read(one, test.images).values.equals(read(other, test.images).values)
    apart = [read([reader], test.images).values["age_years"].to_numpy() for reader in one]
    assert not any(np.array_equal(apart[2], reading) for reading in apart[:2])  # of another seed
    pd.testing.assert_frame_equal(found.readings, made.readings, check_dtype=False)
    written = pd.read_csv(tmp_path / "reference/readings.csv", keep_default_na=False)
    assert written[["split", "group", "statistic"]].equals(made.readings[["split", "group", "statistic"]])


def test_the_reference_of_another_store_and_a_damaged_one_are_refused(store, tmp_path):
    reference(SETTINGS, store, tmp_path / "reference")
    other = Store(store.info.model_copy(update={"digest": "1" * 64}), store.images, None, store.samples)
    with pytest.raises(InputError, match=r"of a store with digest 000000000000, this one has 111111111111"):
        Reference.open(tmp_path / "reference", other)
    path = tmp_path / "reference/reference.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-100] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"reference\.safetensors: damaged"):
        Reference.open(tmp_path / "reference", store)


def test_a_store_without_a_split_is_refused_and_nothing_is_written(store, tmp_path):
    with pytest.raises(InputError, match="no image in split val, reference needs train, val and test"):
        reference(SETTINGS, store.split("train"), tmp_path / "reference")
    assert list(tmp_path.iterdir()) == []
