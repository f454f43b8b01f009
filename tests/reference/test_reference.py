import numpy as np
import pytest

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store
from medsynth.config import ReferenceSettings
from medsynth.errors import InputError
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.features import extract
from medsynth.judges.reader import Reader, read
from medsynth.reference.reference import look, reference

SETTINGS = ReferenceSettings(seed=0, reader_epochs=2, extractor="efficientnet_lite0")


def test_what_is_written_is_read_back_and_judges_as_before(store, tmp_path):
    made = look(SETTINGS, store)
    reference(SETTINGS, store, tmp_path / "reference")
    found = Reference.open(tmp_path / "reference", store)
    assert found.store == made.store and found.extractor == made.extractor
    for part in ("index", "features", "similarity", "nearest"):
        written, kept = getattr(found, part), getattr(made, part)
        assert written.keys() == kept.keys()
        for name, array in kept.items():
            assert np.array_equal(array, written[name]) and array.dtype == written[name].dtype
    train, test = store.split("train"), store.split("test")
    index = TrainingIndex.from_arrays(found.index)
    fitted = TrainingIndex(train.images)
    assert all(map(np.array_equal, index.nearest(test.images), fitted.nearest(test.images)))
    assert np.array_equal(found.similarity["test"], index.nearest(test.images)[0])
    assert np.array_equal(found.features["test"], extract(test.images))
    assert sorted(found.chosen) == list(range(len(train)))
    reader = Reader(store.info.condition_schema, store.info.channels)
    reader.load_state_dict(found.reader)
    again = Reader(store.info.condition_schema, store.info.channels)
    again.load_state_dict(made.reader)
    assert read(reader, test.images).values.equals(read(again, test.images).values)


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
