"""Whether readers are found adequate: known readings, and readers of images that show nothing of their labels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.store import Store
from medsynth.conditions.kind import Reading
from medsynth.config import EvaluateSettings, Evaluation, ReferenceSettings
from medsynth.evaluate.evaluate import evaluate
from medsynth.reference.readings import judge
from medsynth.reference.reference import look

CLASSES = np.array(["low", "high"])


def held_out(store: Store, count: int, each: int = 1) -> Store:
    """Images of both classes in turn, `each` of one subject, with the row as the age."""
    rows = np.arange(count)
    samples = pd.DataFrame(
        {
            "subject_id": [f"s{row // each}" for row in rows],
            "pathology": CLASSES[rows // each % 2],
            "age_years": [str(row % 100) for row in rows],
        }
    )
    return Store(store.info, np.zeros((count, 1, 16, 16), np.uint16), None, samples)


def judged(view: Store, pathology: np.ndarray, age: np.ndarray) -> pd.DataFrame:
    reading = Reading(pd.DataFrame({"pathology": pathology, "age_years": age.astype(float)}), {})
    return judge(view.info.condition_schema, "test", view, reading, seed=0).set_index(["group", "statistic"])


def test_what_is_read_as_it_is_is_adequate_and_what_is_always_the_same_is_not(store: Store) -> None:
    view = held_out(store, 60)
    right = judged(view, view.samples["pathology"].to_numpy(), np.arange(60))
    assert right["adequate"].all() and (right["note"] == "").all()
    assert right.loc[("pathology", "accuracy"), ["value", "criterion_low", "limit", "n"]].tolist() == [1, 1, 0.5, 60]
    same = judged(view, np.full(60, "low"), np.full(60, 50))
    assert not same["adequate"].any()
    assert same.loc[("pathology", "accuracy"), "note"] == (
        "balanced_accuracy 0.50 (0.50 to 0.50) on 60 test images is not above 0.50"
    )
    assert same.loc[("age_years", "rank_correlation"), "note"] == "rank_correlation is not defined on 60 test images"


def test_a_correlation_must_be_above_three_tenths(store: Store) -> None:
    view, rng = held_out(store, 100), np.random.default_rng(0)
    noisy = np.arange(100) + rng.normal(0, 90, 100)  # a correlation of about 0.3
    found = judged(view, CLASSES[np.arange(100) % 2], noisy).loc[("age_years", "mean_absolute_error")]
    assert found["criterion"] == "rank_correlation" and found["limit"] == 0.3 and not found["adequate"]
    assert found["criterion_low"] < 0.3 < found["criterion_high"]


def test_subjects_are_drawn_whole_and_a_few_prove_nothing(store: Store) -> None:
    hit = (np.random.default_rng(1).random(20) < 0.7).repeat(10)
    widths = []
    for view in (held_out(store, 200, each=10), held_out(store, 200)):
        asked = view.samples["pathology"].to_numpy()
        other = CLASSES[(asked == "low").astype(int)]
        row = judged(view, np.where(hit, asked, other), np.arange(200)).loc[("pathology", "accuracy")]
        assert row["value"] == hit.mean()
        widths.append(row["ci_high"] - row["ci_low"])
    assert widths[0] > 2 * widths[1]  # sqrt(10) times
    few = held_out(store, 19)
    right = judged(few, few.samples["pathology"].to_numpy(), np.arange(19))
    assert not right["adequate"].any() and set(right["note"]) == {"19 subjects in test for it, needs 20"}


@pytest.mark.parametrize("count", [60, 200])
def test_labels_that_images_do_not_show_are_unread_and_the_run_goes_on(
    store: Store, count: int, tmp_path, caplog
) -> None:
    rng = np.random.default_rng(3)
    samples = store.samples.iloc[np.arange(count) % 48].reset_index(drop=True)
    samples = samples.assign(
        image=[f"{row}.png" for row in range(count)],
        subject_id=[f"s{row}" for row in range(count)],
        split=np.repeat(["train", "val", "test"], [count // 2, count // 4, count // 4]),
        pathology=CLASSES[rng.integers(2, size=count)],
        age_years=[str(age) for age in rng.integers(100, size=count)],
    )
    images = rng.integers(0, 65536, (count, 1, 16, 16)).astype(np.uint16)
    of_noise = Store(store.info, images, None, samples)
    reference = look(
        ReferenceSettings(seed=0, reader_epochs=2, readers=1, planted_copies=8, extractor="efficientnet_lite0"),
        of_noise,
    )
    assert not reference.readings["adequate"].any()
    assert any("pathology, accuracy: reader inadequate: " in line for line in caplog.messages)
    rows = samples[["pathology", "age_years"]].assign(sample_id=[f"d-m-{row:06d}" for row in range(count)])
    settings = EvaluateSettings(seed=0, evaluation=Evaluation(bootstrap=20))
    evaluate(settings, of_noise, reference, images, rows, None, tmp_path / "out")
    metrics = pd.read_csv(tmp_path / "out/metrics.csv", keep_default_na=False)
    marked = metrics["note"].str.startswith("reader inadequate: ")
    of_classes = ("sensitivity", "specificity", "subgroup_accuracy")
    rests = metrics["metric"].isin(["accuracy", "mean_absolute_error", "rank_correlation", *of_classes, "kept_rate"])
    assert (marked == rests).all()
    verdicts = pd.read_csv(tmp_path / "out/samples.csv", keep_default_na=False)
    assert verdicts["misread_check"].str.startswith("off: reader inadequate: ").all()
    assert not verdicts["reason"].str.contains("read as").any()
    assert any(line.startswith("misread check off for pathology low: reader inadequate") for line in caplog.messages)


def test_the_checks_rest_on_validation_images_alone(store: Store) -> None:
    made = look(
        ReferenceSettings(seed=0, reader_epochs=1, readers=1, planted_copies=8, extractor="efficientnet_lite0"), store
    )
    readings = pd.DataFrame(
        {
            "split": ["val", "test"],
            "group": "pathology",
            "statistic": "accuracy",
            "adequate": [True, False],
            "note": "x",
        }
    )
    known = replace(made, readings=readings)
    assert known.inadequate("val") == {}
    assert known.inadequate("test") == known.inadequate("val", "test")
    assert known.inadequate("test") == {("pathology", "accuracy"): "reader inadequate: x"}
