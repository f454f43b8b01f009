"""Groups of people by hand: which images are in them, what is read there, and where they are too few."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsynth.conditions.kind import Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Config, EvaluateSettings, Evaluation, Number, load, parse
from medsynth.errors import InputError
from medsynth.evaluate.metrics import subgroups
from medsynth.evaluate.metrics.metric import Evidence, Side
from tests.workflow.conftest import ROOT

SCHEMA = ConditionSchema(
    {
        "look": Categorical(kind="categorical", values=("a", "b")),
        "sex": Categorical(kind="categorical", values=("female", "male")),
        "age_years": Number(kind="number", range=(0, 90)),
    },
    2,
)


def side(asked: str, read: str, sex: list[str], age_years: list[str]) -> Side:
    table = pd.DataFrame({"look": list(asked), "sex": sex, "age_years": age_years})
    table["subject_id"] = [f"s{row}" for row in range(len(table))]
    none = np.empty((len(table), 0))
    reading = Reading(pd.DataFrame({"look": list(read)}), {})
    return Side(table, *[none] * 5, reading, *[none] * 4, table)


def evidence(synthetic: Side, test: Side, **chosen) -> Evidence:
    settings = EvaluateSettings(seed=0, evaluation=Evaluation(**chosen))
    none = np.empty((0, 0))
    real = test, synthetic, test.table, *[none] * 4
    return Evidence(SCHEMA, "look", {"look": ("a", "b")}, (8, 8), *real, SimpleNamespace(off={}), settings, {})


def test_each_group_has_its_own_share_beside_that_of_real_images() -> None:
    """Women: 30 of 40 samples are read, 20 of 25 real images; men: 10 of 40, and 5 real images, which are few."""
    ages = ["19.5", "20", "90", ""]
    synthetic = side("a" * 80, "a" * 30 + "b" * 40 + "a" * 10, ["female"] * 40 + ["male"] * 40, ages * 20)
    test = side("a" * 30, "a" * 20 + "b" * 5 + "a" * 5, ["female"] * 25 + ["male"] * 5, ["50"] * 30)
    found = {row.group: row for row in subgroups._accuracy_rows(evidence(synthetic, test))}
    assert list(found) == [
        "sex=female",
        "sex=male",
        *(f"age_years={band}" for band in ("0-20", "20-40", "40-60", "80-90")),
    ]
    women, men = found["sex=female"], found["sex=male"]
    assert (women.value, women.floor, women.n_real, women.n_synthetic, women.note) == (0.75, 0.8, 25, 40, "")
    assert (men.value, men.floor) == (0.25, 1.0)
    assert men.note == "insufficient: 5 test subjects and 40 samples, needs 20 of each"
    bands = {band: found[f"age_years={band}"].n_synthetic for band in ("0-20", "20-40", "40-60", "80-90")}
    assert bands == {"0-20": 20, "20-40": 20, "40-60": 0, "80-90": 20}


def test_a_dataset_without_such_conditions_has_no_rows() -> None:
    images = side("ab", "ab", ["female", "male"], ["1", "2"])
    lacking = replace(images, table=images.table.drop(columns=["sex", "age_years"]))
    assert list(subgroups._accuracy_rows(evidence(lacking, images))) == []
    assert list(subgroups._accuracy_rows(evidence(images, images, subgroups={"region": ()}))) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"severity": []}, "severity: a number needs the edges of its bands, got []"),
        ({"severity": [0.5, 0.2]}, "severity: edges [0.5, 0.2] do not rise"),
        ({"pathology": [1]}, "pathology: the condition has values of its own, expected [], got [1.0]"),
        ({"lesion": []}, "lesion: a condition of kind lesions tells no subgroups apart"),
    ],
)
def test_edges_that_do_not_fit_are_one_line(given: dict, said: str) -> None:
    values = load(ROOT / "config/tiny.yaml").model_dump(mode="json", exclude_unset=True)
    with pytest.raises(InputError) as raised:
        parse(Config, values | {"evaluation": {"subgroups": given}}, "config")
    assert f"evaluation.subgroups.{said}" in str(raised.value) and "\n" not in str(raised.value)
