import numpy as np
import pandas as pd
import pytest

from medsynth import config
from medsynth.artifacts.shards import open_shards, shard_rows
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.config.families.consistency import ConsistencySampler
from medsynth.errors import InputError
from medsynth.sample.plan import plan, sample_seed
from medsynth.sample.sample import TOLERANCE, regenerate, sample_shard
from medsynth.train.loop import train
from tests.train.test_loop import settings as train_settings


def settings(request: dict, shards: int = 1, **more) -> config.SampleSettings:
    wanted = {"request": request, "shards": shards}
    sampler = {"family": "diffusion", "steps": [3, 2]}
    return config.SampleSettings(seed=0, dataset="d", model="m", plan=wanted, sampler=sampler, **more)


PER_CLASS = {"kind": "per_class", "column": "pathology", "counts": {"low": 5, "high": 2}}


def test_seeds_are_fixed_distinct_and_small_enough_for_any_reader():
    # printf '0:d-m-000000' | sha256sum | cut -c1-12
    assert sample_seed(0, "d-m-000000") == 0x1D8105612F70
    seeds = {sample_seed(run, f"d-m-{index:06d}") for run in (0, 1) for index in range(5000)}
    assert len(seeds) == 10_000 and max(seeds) < 2**53


def test_counts_per_class_and_rows_of_the_training_subjects(store):
    rows = plan(settings(PER_CLASS), store)
    assert rows["pathology"].value_counts().to_dict() == {"low": 5, "high": 2}
    assert rows["sample_id"].is_unique and rows["sample_id"][0] == "d-m-000000"
    assert plan(settings(PER_CLASS), store).equals(rows)


def many(low: int, high: int) -> config.SampleSettings:
    return settings({"kind": "per_class", "column": "pathology", "counts": {"low": low, "high": high}})


def test_open_conditions_follow_the_training_rows_of_the_class(store):
    store.samples["age_years"] = [str(20 + row / 7) if row % 2 else str(80 + row / 7) for row in range(48)]
    ages = plan(many(200, 200), store).assign(age_years=lambda rows: rows["age_years"].astype(float))
    training = store.split("train").samples.assign(age_years=lambda rows: rows["age_years"].astype(float))
    for pathology, drawn in ages.groupby("pathology")["age_years"]:
        real = training.loc[training["pathology"] == pathology, "age_years"]
        assert (
            abs(drawn.mean() - real.mean()) < real.std() / 2 and real.std() < 2
        )  # the joint distribution, not margins
        assert drawn.std() < 3 * real.std()


def test_no_patients_own_number_is_handed_over_but_common_ones_stay(store):
    store.samples["age_years"] = [str(20 + row / 7) for row in range(48)]
    own = store.split("train").samples["age_years"].astype(float)
    ages = plan(many(100, 100), store)["age_years"].astype(float)
    assert ages.isin(own.round(4)).sum() <= 2  # by chance
    assert ages.between(own.min(), own.max()).all()
    store.samples.loc[:19, "age_years"] = "0"  # ten of each class
    zeros = plan(many(100, 100), store)["age_years"].value_counts()["0"]
    assert 80 < zeros < 170  # 20 of the 32 training rows
    store.samples["age_years"] = [str(row) for row in range(48)]
    assert plan(many(100, 100), store)["age_years"].str.fullmatch(r"\d+").all()  # whole years stay whole


def test_drawn_numbers_lie_where_patients_lie(store):
    """Two groups far apart, as lesions of the left and the right lung: nothing between them."""
    store.samples["age_years"] = [str(row / 7 if row % 4 < 2 else 90 + row / 7) for row in range(48)]
    ages = plan(many(200, 200), store)["age_years"].astype(float)
    assert (ages.between(0, 5) | ages.between(90, 97)).all() and 0.3 < (ages < 50).mean() < 0.7


def test_a_patient_of_many_images_does_not_hand_over_its_age(store):
    store.samples.loc[:19, ["subject_id", "age_years"]] = ["s0", "63.5"]
    store.samples.loc[20:, "age_years"] = [str(row + 0.25) for row in range(28)]
    assert (plan(many(50, 50), store)["age_years"] != "63.5").all()


def test_a_class_of_one_patient_does_not_hand_over_its_age(store):
    store.samples["pathology"] = ["high", *["low"] * 47]
    store.samples["age_years"] = ["63.5", *[str(row + 0.25) for row in range(47)]]
    assert (plan(many(0, 50), store)["age_years"] != "63.5").all()


def test_a_number_that_one_patient_alone_has_is_left_open(store):
    store.samples["age_years"] = ["63.5", "63.5", *[""] * 46]
    store.samples.loc[:1, "subject_id"] = "s0"
    assert (plan(many(50, 50), store)["age_years"] == "").all()


def test_what_is_asked_decides_which_training_rows_fill_the_rest(store, tmp_path):
    store.samples.loc[::2, "age_years"] = "n/a"  # every `low` row
    (tmp_path / "plan.csv").write_text("pathology,age_years\n,n/a\n,3\n,25\n")
    rows = plan(settings({"kind": "table", "table": "plan.csv"}, data_root=str(tmp_path)), store)
    assert rows["pathology"].tolist() == ["low", "high", "high"]
    assert rows["age_years"].tolist() == ["n/a", "3", "25"]


def test_a_class_without_training_images_and_an_empty_plan_are_refused(store):
    store.samples["pathology"] = "low"
    with pytest.raises(InputError, match="plan: pathology 'high' has no training image"):
        plan(settings(PER_CLASS), store)
    counts = {"kind": "per_class", "column": "pathology", "counts": {"low": 0}}
    with pytest.raises(InputError, match="plan: asks for no image"):
        plan(settings(counts), store)


def test_balance_and_oversample_count_training_rows_alone(store):
    store.samples.loc[:9, "pathology"] = "low"  # 21 low and 11 high among the 32 training rows
    balanced = plan(settings({"kind": "balance", "column": "pathology"}), store)
    assert balanced["pathology"].value_counts().to_dict() == {"high": 10}
    filled = plan(settings({"kind": "oversample", "column": "pathology", "minimum": 30}), store)
    assert filled["pathology"].value_counts().to_dict() == {"high": 19, "low": 9}


def test_a_table_of_conditions_is_followed_and_its_gaps_are_filled(store, tmp_path):
    (tmp_path / "plan.csv").write_text("pathology,age_years\nlow,77\nhigh,\n,\n,n/a\n")
    rows = plan(settings({"kind": "table", "table": "plan.csv"}, data_root=str(tmp_path)), store)
    assert rows.loc[0, ["pathology", "age_years"]].tolist() == ["low", "77"]
    assert rows.loc[1, "pathology"] == "high" and rows.loc[1, "age_years"] != ""
    assert rows.loc[2, "pathology"] != ""
    assert rows.loc[3, ["pathology", "age_years"]].tolist() == ["", "n/a"]  # no training row agrees


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pathology\ncyst\n", r"plan\.csv: row 1: pathology 'cyst': not one of low, high"),
        ("age_years\n5\nnan\n", r"plan\.csv: row 2: age_years 'nan': not within"),
        ("patology\nlow\n", r"unknown columns \['patology'\]"),
        ("", "empty, expected a header"),
        ("pathology,age_years\nlow,5,6\n", r"row 1: 3 cells, the header has 2"),
    ],
)
def test_a_bad_table_of_conditions_is_one_line(store, tmp_path, text, message):
    (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        plan(settings({"kind": "table", "table": "plan.csv"}, data_root=str(tmp_path)), store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("count", "shards"), [(0, 1), (1, 3), (10, 3), (100, 7)])
def test_shards_part_the_plan(count, shards):
    rows = [row for shard in range(shards) for row in range(count)[shard_rows(count, shard, shards)]]
    assert rows == list(range(count))


@pytest.fixture
def results(store, tmp_path):
    train(train_settings(images=160), store, tmp_path / "train/d/m")
    for shard in range(2):
        out = tmp_path / f"sample/d/m/shard_{shard}.npy"
        sample_shard(settings(PER_CLASS, shards=2), store, tmp_path / "train/d/m/model.safetensors", shard, out)
    return tmp_path


def test_shards_hold_the_plan_and_any_sample_can_be_made_again_alone(store, results):
    shards = open_shards(results / "sample/d/m")
    images, rows = shards.images, shards.rows
    assert rows["sample_id"].tolist() == plan(settings(PER_CLASS), store)["sample_id"].tolist()
    assert images.shape == (7, 1, 16, 16) and images.dtype == np.uint16
    for index in (0, 6):
        again = regenerate(f"d-m-{index:06d}", results)
        assert np.abs(again.astype(int) - images[index]).max() <= TOLERANCE["float32"] / 2 * 65535


def test_the_sampler_of_another_family_is_refused(store, results, tmp_path):
    other = settings(PER_CLASS).model_copy(update={"sampler": ConsistencySampler()})
    with pytest.raises(InputError, match="is a diffusion model, got the sampler of a consistency model"):
        sample_shard(other, store, results / "train/d/m/model.safetensors", 0, tmp_path / "shard_0.npy")


def test_the_number_of_shards_changes_no_sample(store, results, tmp_path):
    whole = tmp_path / "whole/shard_0.npy"
    sample_shard(settings(PER_CLASS), store, results / "train/d/m/model.safetensors", 0, whole)
    one, two = open_shards(whole.parent), open_shards(results / "sample/d/m")
    pd.testing.assert_frame_equal(one.rows, two.rows)
    assert np.abs(one.images[:].astype(int) - two.images[:]).max() <= TOLERANCE["float32"] / 2 * 65535


def test_a_plan_of_fewer_shards_leaves_none_of_the_old(store, results):
    weights = results / "train/d/m/model.safetensors"
    sample_shard(settings(PER_CLASS), store, weights, 0, results / "sample/d/m/shard_0.npy")
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
    weights = results / "train/d/m/model.safetensors"
    with pytest.raises(InputError, match="trained on a store with digest 000000000000, this one has 111111111111"):
        sample_shard(settings(PER_CLASS), other, weights, 0, results / "x/shard_0.npy")
    with pytest.raises(InputError, match="shard 5: expected 0 to 0"):
        sample_shard(settings(PER_CLASS), store, weights, 5, results / "x/shard_5.npy")
    assert not (results / "x").exists()
    shard = results / "sample/d/m/shard_0.npy"
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(InputError, match=r"shard_0\.npy: shard cannot be read"):
        open_shards(shard.parent)


@pytest.fixture
def outlined(store) -> Store:
    """The store with a square in each mask, which images can be asked for by."""
    masks = np.zeros((48, 16, 16), np.uint8)
    for row, mask in enumerate(masks):
        mask[row % 8 : row % 8 + 6, 4:10] = 2
    conditions = store.info.model_dump()["conditions"] | {"outline": {"kind": "mask"}}
    info = StoreInfo.model_validate(store.info.model_dump() | {"conditions": conditions, "structures": {"square": 2}})
    return Store(info, store.images, masks, store.samples)


def test_a_mask_that_is_asked_for_is_that_of_the_row_that_fills_the_rest(outlined):
    rows = plan(settings(PER_CLASS), outlined)
    assert plan(settings(PER_CLASS), outlined).equals(rows)
    donors = rows["mask_of"].astype(int)
    assert (outlined.samples["split"][donors] == "train").all()
    assert (outlined.samples["pathology"][donors].to_numpy() == rows["pathology"]).all()
    assert np.array_equal(outlined.masks_asked(rows), outlined.masks[donors])


def test_open_conditions_are_drawn_alike_with_and_without_a_mask(store, outlined):
    pd.testing.assert_frame_equal(
        plan(settings(PER_CLASS), outlined).drop(columns="mask_of"), plan(settings(PER_CLASS), store)
    )


def test_a_sample_asked_for_by_a_mask_follows_it_and_is_made_again_from_its_row(outlined, tmp_path, monkeypatch):
    train(train_settings(images=160), outlined, tmp_path / "train/d/m")
    weights = tmp_path / "train/d/m/model.safetensors"
    sample_shard(settings(PER_CLASS), outlined, weights, 0, tmp_path / "sample/d/m/shard_0.npy")
    shards = open_shards(tmp_path / "sample/d/m")
    images, rows = shards.images, shards.rows
    assert (rows["mask_of"] != "").all()
    monkeypatch.setattr(Store, "open", lambda folder: outlined)
    again = regenerate("d-m-000003", tmp_path)
    assert np.abs(again.astype(int) - images[3]).max() <= TOLERANCE["float32"] / 2 * 65535
    other = Store(outlined.info, outlined.images, np.zeros_like(outlined.masks), outlined.samples)
    monkeypatch.setattr(Store, "open", lambda folder: other)
    assert np.abs(regenerate("d-m-000003", tmp_path).astype(int) - images[3]).max() > 65535 * TOLERANCE["float32"]
