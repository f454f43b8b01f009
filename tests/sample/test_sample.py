from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.shards import open_shards, shard_rows
from medsynth.artifacts.store import Store
from medsynth.errors import InputError
from medsynth.sample.plan import plan
from medsynth.sample.sample import TOLERANCE, regenerate, sample_shard
from medsynth.train.loop import train
from tests.sample.conftest import PER_CLASS, settings, tuned
from tests.train.test_loop import settings as train_settings


@pytest.mark.parametrize(("count", "shards"), [(0, 1), (1, 3), (10, 3), (100, 7)])
def test_shards_part_the_plan(count, shards):
    rows = [row for shard in range(shards) for row in range(count)[shard_rows(count, shard, shards)]]
    assert rows == list(range(count))


def generator(results: Path) -> tuple[Path, Path]:
    """Its weights and its sampler."""
    return results / "train/d/m/model.safetensors", results / "tune/d/m/sampler.json"


@pytest.fixture
def results(store, tmp_path):
    train(train_settings(images=160), store, tmp_path / "train/d/m")
    for shard in range(2):
        out, weights = tmp_path / f"sample/d/m/shard_{shard}.npy", tmp_path / "train/d/m/model.safetensors"
        chosen = tuned(weights, tmp_path / "tune/d/m/sampler.json")
        sample_shard(settings(PER_CLASS, shards=2), store, weights, chosen, shard, out)
    return tmp_path


def test_shards_hold_the_plan_and_any_sample_can_be_made_again_alone(store, results):
    shards = open_shards(results / "sample/d/m")
    images, rows = shards.images, shards.rows
    assert rows["sample_id"].tolist() == plan(settings(PER_CLASS), store)["sample_id"].tolist()
    assert images.shape == (7, 1, 16, 16) and images.dtype == np.uint16
    for index in (0, 6):
        again = regenerate(f"d-m-{index:06d}", results)
        assert np.abs(again.astype(int) - images[index]).max() <= TOLERANCE["float32"] / 2 * 65535


def test_the_sampler_of_another_family_or_of_other_weights_is_refused(store, results, tmp_path):
    weights = results / "train/d/m/model.safetensors"
    other = tuned(weights, tmp_path / "family.json", sampler={"family": "consistency"})
    with pytest.raises(InputError, match="is the sampler of a consistency model, expected that of a diffusion model"):
        sample_shard(settings(PER_CLASS), store, weights, other, 0, tmp_path / "shard_0.npy")
    other = tuned(weights, tmp_path / "weights.json", weights_sha256="1" * 64)
    with pytest.raises(InputError, match="chosen for weights with sha256 111111111111, these have"):
        sample_shard(settings(PER_CLASS), store, weights, other, 0, tmp_path / "shard_0.npy")
    with pytest.raises(InputError, match="no such file, expected the sampler"):
        sample_shard(settings(PER_CLASS), store, weights, tmp_path / "none.json", 0, tmp_path / "shard_0.npy")


def test_the_number_of_shards_changes_no_sample(store, results, tmp_path):
    whole = tmp_path / "whole/shard_0.npy"
    sample_shard(settings(PER_CLASS), store, *generator(results), 0, whole)
    one, two = open_shards(whole.parent), open_shards(results / "sample/d/m")
    pd.testing.assert_frame_equal(one.rows, two.rows)
    assert np.abs(one.images[:].astype(int) - two.images[:]).max() <= TOLERANCE["float32"] / 2 * 65535


def test_a_plan_of_fewer_shards_leaves_none_of_the_old(store, results):
    sample_shard(settings(PER_CLASS), store, *generator(results), 0, results / "sample/d/m/shard_0.npy")
    assert len(open_shards(results / "sample/d/m").rows) == 7


def test_samples_that_cannot_be_made_again_say_why(results):
    with pytest.raises(InputError, match="expected <dataset>-<model>-<number>"):
        regenerate("nonsense", results)
    with pytest.raises(InputError, match="in none of 2 shards"):
        regenerate("d-m-000099", results)
    table = results / "sample/d/m/shard_0.csv"
    rows = pd.read_csv(table, dtype=str)
    rows["model_sha256"] = "f" * 64
    rows.to_csv(table, index=False)
    with pytest.raises(InputError, match="was made by another generator"):
        regenerate("d-m-000000", results)


def test_weights_of_other_data_and_damaged_shards_are_refused(store, results):
    other = type(store)(store.info.model_copy(update={"digest": "1" * 64}), store.images, None, store.samples)
    weights = generator(results)
    with pytest.raises(InputError, match="trained on a store with digest 000000000000, this one has 111111111111"):
        sample_shard(settings(PER_CLASS), other, *weights, 0, results / "x/shard_0.npy")
    with pytest.raises(InputError, match="shard 5: expected 0 to 0"):
        sample_shard(settings(PER_CLASS), store, *weights, 5, results / "x/shard_5.npy")
    assert not (results / "x").exists()
    shard = results / "sample/d/m/shard_0.npy"
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(InputError, match=r"shard_0\.npy: shard cannot be read"):
        open_shards(shard.parent)


def test_a_sample_asked_for_by_a_mask_follows_it_and_is_made_again_from_its_row(outlined, tmp_path, monkeypatch):
    train(train_settings(images=160), outlined, tmp_path / "train/d/m")
    weights = tmp_path / "train/d/m/model.safetensors"
    chosen = tuned(weights, tmp_path / "tune/d/m/sampler.json")
    sample_shard(settings(PER_CLASS), outlined, weights, chosen, 0, tmp_path / "sample/d/m/shard_0.npy")
    shards = open_shards(tmp_path / "sample/d/m")
    images, rows = shards.images, shards.rows
    assert (rows["mask_of"] != "").all()
    monkeypatch.setattr(Store, "open", lambda folder: outlined)
    again = regenerate("d-m-000003", tmp_path)
    assert np.abs(again.astype(int) - images[3]).max() <= TOLERANCE["float32"] / 2 * 65535
    other = Store(outlined.info, outlined.images, np.zeros_like(outlined.masks), outlined.samples)
    monkeypatch.setattr(Store, "open", lambda folder: other)
    assert np.abs(regenerate("d-m-000003", tmp_path).astype(int) - images[3]).max() > 65535 * TOLERANCE["float32"]
