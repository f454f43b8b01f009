"""What a request leaves open follows the training rows, and no patient's own number is handed over."""

import numpy as np
import pandas as pd

from medsynth import config
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Lesions, Number
from medsynth.sample.donors import Donors
from medsynth.sample.plan import plan
from tests.sample.conftest import settings


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


def test_a_class_of_one_patient_leaves_its_number_open(store):
    store.samples["pathology"] = ["high", *["low"] * 47]
    store.samples["age_years"] = ["63.5", *[str(row + 0.25) for row in range(47)]]
    assert (plan(many(0, 50), store)["age_years"] == "").all()


def test_a_number_that_one_patient_alone_has_is_left_open(store):
    store.samples["age_years"] = ["63.5", "63.5", *[""] * 46]
    store.samples.loc[:1, "subject_id"] = "s0"
    assert (plan(many(50, 50), store)["age_years"] == "").all()


FIELDS = {
    "pathology": Categorical(kind="categorical", values=("normal", "nodule", "effusion")),
    "sex": Categorical(kind="categorical", values=("female", "male")),
    "age": Number(kind="number", range=(0, 100)),
    "lesion": Lesions(kind="lesions"),
}
SCHEMA = ConditionSchema(FIELDS, 2)


def patients(count: int, ages: np.ndarray, pathology: str = "nodule") -> pd.DataFrame:
    """One image each; nodules lie left and high, effusions right and low."""
    rng = np.random.default_rng(count)
    corner = {"nodule": 0.2, "effusion": 0.8}[pathology]
    place = (corner + rng.uniform(-0.1, 0.1, (count, 2))).round(4).astype(str)
    return pd.DataFrame(
        {
            "subject_id": [f"{pathology}{row}" for row in range(count)],
            "pathology": pathology,
            "sex": rng.choice(["female", "male"], count),
            "age": [f"{age:g}" for age in ages],
            "lesion_x": place[:, 0],
            "lesion_y": place[:, 1],
            "lesion_size": rng.uniform(0.1, 0.3, count).round(4).astype(str),
        }
    )


def draw(training: pd.DataFrame, count: int, pathology: str = "") -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is drawn for `count` requests, and the training rows that each was drawn from."""
    requested = pd.DataFrame("", index=range(count), columns=list(SCHEMA.columns)).assign(pathology=pathology)
    drawn, donors = Donors(training, SCHEMA, "pathology").fill(requested, np.random.default_rng(0))
    return drawn, training.iloc[donors].reset_index(drop=True)


def test_a_donors_own_whole_age_comes_out_no_more_often_than_chance_and_ages_stay_as_they_were():
    rng = np.random.default_rng(0)
    training = patients(600, np.clip(rng.normal(60, 12, 600), 0, 100).round())
    drawn, donors = draw(training, 4000)
    chance = (training["age"].value_counts(normalize=True) ** 2).sum()  # that another row has the same
    assert (drawn["age"] == donors["age"]).mean() <= chance < 0.04
    ages, real = drawn["age"].astype(float), training["age"].astype(float)
    assert (ages % 1 == 0).all() and ages.between(real.min(), real.max()).all()
    # Three standard errors of a mean and of a standard deviation of 4000, and no more than a year of smoothing.
    assert abs(ages.mean() - real.mean()) < 3 * real.std() / 4000**0.5
    assert abs(ages.std() - real.std()) < 3 * real.std() / 8000**0.5 + 0.5
    # Kolmogorov-Smirnov at 0.1 %, beside the year that a value may be moved by.
    gap = [abs((ages <= age).mean() - (real <= age).mean()) for age in range(0, 101)]
    assert max(gap) < 1.95 / 4000**0.5 + real.value_counts(normalize=True).max() / 2


def test_lesions_are_moved_among_those_of_their_own_class():
    training = pd.concat(
        [patients(200, np.full(200, 50.0)), patients(3, np.full(3, 50.0), "effusion")], ignore_index=True
    )
    for pathology in ("nodule", "effusion"):  # of the latter there are too few to mix: noise of their own spread
        drawn, donors = draw(training, 300, pathology)
        own = training[training["pathology"] == pathology]
        for column in ("lesion_x", "lesion_y", "lesion_size"):
            places, real = drawn[column].astype(float), own[column].astype(float)
            assert places.between(real.min(), real.max()).all()
            assert (places != donors[column].astype(float)).mean() > 0.99
            assert 0.3 * real.std() < places.std() < 1.5 * real.std()


def test_an_open_request_never_mixes_classes_or_sexes():
    """Men are 20 to 29, women 70 to 79: an age between them would be a mixture."""
    training = patients(80, np.arange(80) % 10 + 20.0)
    women = training["sex"] == "female"
    training.loc[women, "age"] = [f"{70 + row % 10}" for row in range(women.sum())]
    drawn, _ = draw(training, 500)
    ages = drawn["age"].astype(int)
    assert ages[drawn["sex"] == "female"].between(70, 79).all() and ages[drawn["sex"] == "male"].between(20, 29).all()


def test_two_patients_of_a_class_give_ages_between_theirs():
    drawn, donors = draw(patients(2, np.array([40.0, 44.0])).assign(sex="male"), 200)
    assert set(drawn["age"]) == {"40", "41", "42", "43", "44"}
    assert (drawn["age"] != donors["age"]).all()
