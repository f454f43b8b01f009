import json

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from medsynth.artifacts.store import Store
from medsynth.artifacts.tuned import Tuned
from medsynth.conditions.kind import Reading
from medsynth.config import ReferenceSettings, TuneSettings
from medsynth.config.families.consistency import ConsistencySampler
from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.errors import InputError
from medsynth.reference.reference import look as look_at
from medsynth.train.loop import train
from medsynth.tune.score import score
from medsynth.tune.tune import tune
from medsynth.tune.yardstick import Asked, Yardstick
from tests.faults.conftest import contents
from tests.train.test_loop import settings as train_settings

SAMPLER = {"family": "diffusion", "steps": [3, 2]}
CANDIDATES = {"guidance": [1.5, 2.5], "steps": [[4, 2]]}


def settings(candidates: dict = CANDIDATES, count: int = 4) -> TuneSettings:
    tuning = {"candidates": count, "images": 16}
    return TuneSettings(seed=5, sampler=SAMPLER, candidates=candidates, tuning=tuning)


def eye(images: np.ndarray) -> tuple[np.ndarray, Reading]:
    """A reader that knows the class by how bright an image is, and no age."""
    bright = images.mean((1, 2, 3)) / 65535
    values = pd.DataFrame({"pathology": np.where(bright > 0.5, "high", "low"), "age_years": 50.0})
    return np.stack([bright, images.std((1, 2, 3)) / 65535], 1), Reading(values, {})


@pytest.fixture
def val(store) -> Store:
    """Validation images alone, more of them: 96 subjects, a third of them `high`."""
    rng = np.random.default_rng(1)
    labels = np.array(["low", "low", "high"] * 32)
    images = rng.normal(0, 3000, (96, 1, 16, 16)) + np.where(labels == "low", 20000, 45000)[:, None, None, None]
    samples = pd.concat([store.samples] * 2, ignore_index=True)
    samples = samples.assign(split="val", pathology=labels, subject_id=[f"s{row}" for row in range(96)])
    return Store(store.info, images.clip(0, 65535).astype(np.uint16), None, samples)


def test_every_class_is_asked_for_as_often_with_a_seed_for_each_image(val):
    asked = Asked.of(val, 64, 0)
    assert asked.rows["pathology"].value_counts().to_dict() == {"low": 32, "high": 32}
    assert (val.samples["pathology"].to_numpy()[asked.positions] == asked.rows["pathology"]).all()
    assert np.array_equal(asked.real, val.images[asked.positions])
    assert asked.rows["seed"].nunique() == 64 and asked.rows["seed"].astype(int).max() < 2**48
    pd.testing.assert_frame_equal(Asked.of(val, 64, 0).rows, asked.rows)


def test_each_measure_sees_what_it_is_for(val):
    asked = Asked.of(val, 64, 0)
    yardstick = Yardstick(val, asked, 0, eye)
    assert yardstick.measures == ("fidelity", "adherence", "texture") and yardstick.left_out == ("age_years",)
    rng = np.random.default_rng(2)
    level = np.where(asked.rows["pathology"] == "low", 20000, 45000)[:, None, None, None]

    def measured(images: np.ndarray):
        return yardstick.measure(images.clip(0, 65535).astype(np.uint16))

    like = rng.normal(0, 3000, (64, 1, 16, 16)) + level
    good = measured(like)
    assert np.abs(good.values[:, 0]).max() < 0.1 and not good.is_burnt
    other = measured(like[::-1])  # classes come in turn: each image has the other class
    assert other.values[1, 0] == pytest.approx(2, abs=0.2)  # all wrong; chance is half, and counts 1
    assert np.abs(other.values[[0, 2], 0]).max() < 0.2  # the set of images is what it was
    smooth = measured(level + 3 * gaussian_filter(like - level, (0, 0, 1, 1)))
    assert smooth.values[2, 0] > 5 and smooth.values[1, 0] == pytest.approx(0, abs=0.05)
    dull = measured(like - 8000)
    assert dull.values[0, 0] > 0.3 and np.abs(dull.values[1:, 0]).max() < 0.1
    spotted = like.copy()
    spotted[:, :, :2, :2] = 65535
    assert measured(spotted).is_burnt
    for worse in (other, smooth, dull):
        gain, error = score(worse, good)
        assert gain > 2 * error > 0


@pytest.fixture
def trained(store, val, tmp_path):
    """A store with more validation images, what is known of its real images, and weights that have learnt a little."""
    train_and_test = [np.flatnonzero((store.samples["split"] == split).to_numpy()) for split in ("train", "test")]
    images = [store.images[train_and_test[0]], val.images, store.images[train_and_test[1]]]
    tables = [store.samples.iloc[train_and_test[0]], val.samples, store.samples.iloc[train_and_test[1]]]
    store = Store(store.info, np.concatenate(images), None, pd.concat(tables, ignore_index=True))
    train(train_settings(images=160), store, tmp_path / "train")
    reference = look_at(
        ReferenceSettings(seed=0, reader_epochs=3, readers=1, planted_copies=4, extractor="efficientnet_lite0"), store
    )
    return store, reference, tmp_path / "train/model.safetensors"


def test_what_was_tried_is_written_and_the_same_again(trained, tmp_path):
    for name in ("one", "two"):
        tune(settings(), *trained, tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == {"sampler.json", "tried.csv", "tried.png", "contact_sheet.png"}
    table = pd.read_csv(tmp_path / "one/tried.csv", keep_default_na=False)
    assert table["setting"].tolist() == ["as configured", "guidance 1.5", "guidance 2.5", "steps [4, 2]"]
    tuned = Tuned.read(tmp_path / "one/sampler.json")
    assert tuned.tried == 3 and tuned.images == 16
    before = DiffusionSampler.model_validate(SAMPLER).model_dump(mode="json")
    after = tuned.sampler.model_dump(mode="json")
    assert tuned.changed == {key: value for key, value in after.items() if value != before[key]}
    assert bool(tuned.changed) == bool(table["taken"][1:].any())


def test_nothing_of_the_test_split_is_looked_at(trained, tmp_path):
    store, reference, weights = trained
    tune(settings(), *trained, tmp_path / "one")
    images = store.images.copy()
    images[(store.samples["split"] == "test").to_numpy()] = 0
    blank = Store(store.info, images, None, store.samples)
    tune(settings(), blank, reference, weights, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def without(store: Store, split: str, kept: int) -> Store:
    """The store with so many images of a split, each of a subject of its own."""
    of_split = np.flatnonzero((store.samples["split"] == split).to_numpy())
    rows = np.setdiff1d(np.arange(len(store)), of_split[kept:])
    return Store(store.info, store.images[rows], None, store.samples.iloc[rows].reset_index(drop=True))


def test_training_images_say_what_is_better_where_few_validation_subjects_could(trained, tmp_path):
    store, reference, weights = trained
    tune(settings(), without(store, "val", 19), reference, weights, tmp_path / "out")
    tuned, table = Tuned.read(tmp_path / "out/sampler.json"), pd.read_csv(tmp_path / "out/tried.csv")
    assert "compared by training images, since there are fewer than 20 validation subjects" in tuned.note
    assert tuned.tried == 3 and "adherence" not in table and {"fidelity", "texture"} <= set(table)


def test_a_sampler_is_taken_as_configured_where_few_subjects_say_what_is_better(trained, tmp_path):
    store, reference, weights = trained
    few = without(without(store, "val", 19), "train", 19)
    tune(settings(), few, reference, weights, tmp_path / "out")
    assert Tuned.read(tmp_path / "out/sampler.json").note == (
        "taken as configured: 19 training subjects, comparing settings needs 20"
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [(settings(count=0), "tuning.candidates is 0"), (settings({}), "no key of the sampler is left to try")],
)
def test_a_sampler_is_taken_as_configured_where_nothing_is_to_be_tried(trained, tmp_path, asked, reason):
    tune(asked, *trained, tmp_path / "out")
    tuned = Tuned.read(tmp_path / "out/sampler.json")
    assert tuned.sampler == DiffusionSampler.model_validate(SAMPLER) and tuned.changed == {} and tuned.tried == 0
    assert reason in tuned.note and len(pd.read_csv(tmp_path / "out/tried.csv")) == 1


def test_the_settings_of_another_family_or_store_and_a_damaged_choice_are_refused(trained, tmp_path):
    store, reference, weights = trained
    other = settings({}).model_copy(update={"sampler": ConsistencySampler()})
    with pytest.raises(InputError, match="is a diffusion model, got the sampler of a consistency model"):
        tune(other, *trained, tmp_path / "out")
    strange = Store(store.info.model_copy(update={"digest": "1" * 64}), store.images, None, store.samples)
    with pytest.raises(InputError, match="trained on a store with digest 000000000000, this one has 111111111111"):
        tune(settings(), strange, reference, weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    path = tmp_path / "sampler.json"
    with pytest.raises(InputError, match=r"no such file, expected the sampler\.json that tune wrote"):
        Tuned.read(path)
    path.write_text(json.dumps({"sampler": SAMPLER}))
    with pytest.raises(InputError, match=r"sampler\.json: weights_sha256: Field required"):
        Tuned.read(path)
