"""What is asked for: counts, tables, and which training rows fill the rest."""

import numpy as np
import pandas as pd
import pytest

from medsynth.errors import InputError
from medsynth.sample.plan import plan, sample_seed
from tests.sample.conftest import PER_CLASS, settings


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
    request = {"kind": "oversample", "column": "pathology", "minimum": 30}
    filled = plan(settings(request | {"limit": 1}), store)
    assert filled["pathology"].value_counts().to_dict() == {"high": 19, "low": 9}
    enlarged = plan(settings(request | {"limit": 1.5}), store)
    assert enlarged["pathology"].value_counts().to_dict() == {"high": 29, "low": 14}


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
        (
            "pathology\ncyst\n",
            r"plan\.csv: 1 of 1 rows .*: row 1: pathology 'cyst': not one of low, high, the nearest is 'low'",
        ),
        ("age_years\n5\nnan\n", r"plan\.csv: 1 of 2 rows cannot be used: row 2: age_years 'nan': not within 0 to 100$"),
        ("patology\nlow\n", "unknown column 'patology', did you mean 'pathology'?"),
        ("", "empty, expected a header"),
        ("pathology,age_years\nlow,5,6\n", r"row 1: 3 cells, the header has 2"),
        (
            "pathology\nhi\n" + "lo\n" * 7,
            r"8 of 8 rows .*: row 1: .* the nearest is 'high'; .*; row 5: .*'; and 3 more$",
        ),
    ],
)
def test_a_bad_table_of_conditions_is_one_line(store, tmp_path, text, message):
    (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        plan(settings({"kind": "table", "table": "plan.csv"}, data_root=str(tmp_path)), store)
    assert "\n" not in str(caught.value)


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
