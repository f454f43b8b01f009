from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsynth import registry
from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.config import EvaluateSettings, Evaluation, ReferenceSettings
from medsynth.errors import InputError
from medsynth.evaluate import fidelity
from medsynth.evaluate.evaluate import evaluate, gather
from medsynth.evaluate.metrics import metric
from medsynth.reference.reference import look
from tests.conditions.toys import FIELDS, STRUCTURES, toy

pytestmark = pytest.mark.xdist_group("evaluate")  # the fixture below is made once

CLASSES = ("dark", "bright")
SETTINGS = EvaluateSettings(seed=0, evaluation=Evaluation(bootstrap=20))
JUDGES = ReferenceSettings(seed=0, reader_epochs=6, readers=2, planted_copies=20, extractor="efficientnet_lite0")


def textured(count: int, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Images of two classes, with a texture of their own, and conditions that tell them apart."""
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=count)
    coarse = rng.normal(0, 0.08, (count, 1, 16, 16)).repeat(2, 2).repeat(2, 3)
    images = np.clip(coarse + np.where(label, 0.7, 0.3)[:, None, None, None], 0, 1)
    table = pd.DataFrame({"pathology": np.array(CLASSES)[label], "age_years": [str(x) for x in 20 + 40 * label]})
    table.loc[0, "age_years"] = ""
    return (images * 65535).astype(np.uint16), table.assign(lesion_x="n/a", lesion_y="n/a", lesion_size="n/a")


@pytest.fixture(scope="module")
def collection() -> Store:
    images, table = textured(220, seed=0)
    rows = np.arange(220)
    samples = table.assign(
        image=[f"images/{row}.png" for row in rows],
        subject_id=[f"s{row // 2}" for row in rows],
        split=np.select([rows < 100, rows < 160], ["train", "val"], "test"),
    )
    fields = {
        "pathology": {"kind": "categorical", "values": CLASSES},
        "age_years": {"kind": "number", "range": [0, 100]},
        "lesion": {"kind": "lesions"},
    }
    info = StoreInfo(
        version=2, dataset="d", modality="chest_xray", size=(32, 32), channels=1, conditions=fields, label="pathology",
        simulated=False, structures={}, rows_in=220, rows_out=220, rows_quarantined=0, digest="0" * 64,
    )  # fmt: skip
    return Store(info, images, None, samples)


@pytest.fixture(scope="module")
def reference(collection: Store) -> Reference:
    return look(JUDGES, collection)


@pytest.fixture(scope="module")
def synthetic(collection: Store) -> tuple[np.ndarray, pd.DataFrame]:
    """Fresh images of the same source; 0 to 4 are copies of training images, 10 to 14 have the other class."""
    images, table = textured(80, seed=1)
    images[:5] = collection.split("train").images[:5]
    table.iloc[:5] = collection.split("train").samples[table.columns].iloc[:5]
    table.loc[10:14, "pathology"] = np.where(table.loc[10:14, "pathology"] == "dark", "bright", "dark")
    return images, table.assign(sample_id=[f"d-m-{row:06d}" for row in range(80)])


@pytest.fixture(scope="module")
def results(collection: Store, reference: Reference, synthetic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluate") / "d"
    history = pd.DataFrame({"images_seen": [0, 10], "loss": [1, 0.5], "val_loss": [None, 0.6], "learning_rate": [1, 0]})
    evaluate(SETTINGS, collection, reference, *synthetic, history, out)
    return out


def test_writes_tables_and_figures(results: Path) -> None:
    tables = {"metrics.csv", "samples.csv", "copy_limits.csv"}
    figures = {"contact_sheet.png", "curves.png", "nearest.png", "adherence.png"}
    assert {path.name for path in results.iterdir()} == tables | figures


def test_the_limits_by_which_copies_were_rejected_are_written(results: Path) -> None:
    limits = pd.read_csv(results / "copy_limits.csv").set_index("likeness")["limit"]
    assert set(limits.index) == {"whole", "parts"}
    reasons = pd.read_csv(results / "samples.csv", keep_default_na=False)["reason"]
    said = reasons.str.extractall(r"(of parts )?to a training image [\d.]+ > ([\d.]+)")
    assert len(said) >= 5
    for parts, limit in said.fillna("").itertuples(index=False):
        assert f"{limits['parts' if parts else 'whole']:.3f}" == limit


def test_every_metric_has_its_rows(results: Path, collection: Store) -> None:
    table = pd.read_csv(results / "metrics.csv", keep_default_na=False)
    columns = [
        "metric",
        "group",
        "value",
        "ci_low",
        "ci_high",
        "floor",
        "n_real",
        "n_synthetic",
        "higher_is_better",
        "note",
        "extractor",
    ]
    assert table.columns.tolist() == columns
    read = ("accuracy", "mean_absolute_error", "rank_correlation", "centre_error_px", "size_error_px")
    of_images = ("nearest_similarity", "copy_rate", "kept_copy_rate", "test_copy_rate", "copy_recall", "kept_rate")
    of_texture = ("pairwise_ms_ssim", "spectrum_distance_db", "finest_octave_db")
    of_marks, of_classes = ("shortcut_auc", "shortcut_gap"), ("sensitivity", "specificity")
    of_people = ("subgroup_accuracy", "subgroup_kid")
    named = [
        "kid",
        "fid",
        "kid_texture",
        "fid_texture",
        "density",
        "coverage",
        *of_texture,
        *of_marks,
        *read,
        *of_classes,
        *of_people,
        *of_images,
    ]
    assert table["metric"].unique().tolist() == named
    assert not table.duplicated(["metric", "group"]).any()
    of_features = table["metric"].isin(["kid", "fid", "density", "coverage", "subgroup_kid", *of_marks])
    assert set(table.loc[of_features, "extractor"]) == {JUDGES.extractor}
    assert set(table.loc[~of_features, "extractor"]) == {""}
    neither = table["higher_is_better"] == ""
    assert set(table.loc[neither, "metric"]) == {"nearest_similarity", "pairwise_ms_ssim", "finest_octave_db"}
    people = table[table["metric"] == "subgroup_accuracy"]
    assert (
        people["group"].tolist() == ["age_years=20-40", "age_years=60-80"] and (people["n_real"].astype(int) > 20).all()
    )
    empty = table["value"] == ""
    assert table.loc[empty, "metric"].tolist() == ["centre_error_px", "size_error_px"]  # no lesion was asked
    assert (table.loc[empty, "note"] != "").all()


def test_values_lie_in_their_intervals_and_near_the_floor(results: Path) -> None:
    metrics = pd.read_csv(results / "metrics.csv").dropna(subset=["value"]).set_index(["metric", "group"])
    assert (metrics["ci_low"] <= metrics["value"]).all()
    assert (metrics["value"] <= metrics["ci_high"]).all()
    same_source = metrics.loc["kid", "all"]
    assert same_source["ci_low"] <= 0 <= same_source["ci_high"]
    accuracy = metrics.loc["accuracy", "pathology"]
    assert accuracy["floor"] > 0.9
    assert accuracy["value"] == pytest.approx(accuracy["floor"] - 5 / 80, abs=0.05)
    assert metrics.loc["copy_rate", "all"]["value"] >= 5 / 80
    assert metrics.loc["kept_copy_rate", "all"]["value"] == 0
    assert metrics.loc["finest_octave_db", "all"]["value"] == pytest.approx(0, abs=0.5)
    assert metrics.loc["spectrum_distance_db", "all"]["value"] < 1


def test_metrics_that_are_not_named_are_not_measured_and_cost_no_features(
    collection: Store, reference: Reference, synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medsynth.evaluate.evaluate.extract", lambda *arguments, **options: pytest.fail("extracted"))
    named = EvaluateSettings(seed=0, evaluation=Evaluation(bootstrap=20, metrics=("kept_rate", "copy_rate")))
    evaluate(named, collection, reference, *synthetic, None, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out/metrics.csv")["metric"].unique().tolist() == ["copy_rate", "kept_rate"]


def test_intervals_are_of_what_the_card_says(
    collection: Store, reference: Reference, synthetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KID's and the jackknife's take subjects of test images; every other sees synthetic images alone."""
    seen, current = {}, [""]

    def note(kind: str, interval: Callable) -> Callable:
        def noted(*arguments, **options):
            seen[current[0]] = kind
            return interval(*arguments, **options)

        return noted

    monkeypatch.setattr(fidelity, "kid_interval", note("subjects, bootstrap", fidelity.kid_interval))
    monkeypatch.setattr(fidelity, "jackknife_interval", note("subjects, jackknife", fidelity.jackknife_interval))
    monkeypatch.setattr(metric, "bootstrap_interval", note("synthetic images", metric.bootstrap_interval))
    evidence = gather(SETTINGS, collection, reference, *synthetic)
    for current[0], entry in registry.METRICS.items():
        list(entry.load().rows(evidence))
    by_subject = {name: kind for name, kind in seen.items() if kind != "synthetic images"}
    by_jackknife = ("fid", "fid_texture", "density", "coverage", "spectrum_distance_db", "finest_octave_db")
    jackknife = dict.fromkeys(by_jackknife, "subjects, jackknife")
    assert by_subject == dict.fromkeys(("kid", "kid_texture", "subgroup_kid"), "subjects, bootstrap") | jackknife


def test_copies_and_misread_images_are_rejected_with_a_reason(results: Path, collection: Store) -> None:
    samples = pd.read_csv(results / "samples.csv", dtype=str, keep_default_na=False)
    assert samples["sample_id"].tolist() == [f"d-m-{row:06d}" for row in range(80)]
    assert ((samples["verdict"] == "rejected") == (samples["reason"] != "")).all()
    assert samples["nearest_image"][:5].tolist() == [f"images/{row}.png" for row in range(5)]
    assert samples["reason"][:5].str.contains(r"likeness to a training image \d\.\d{3} > 0.\d{3}").all()
    assert not samples["reason"].str.contains("images/").any()
    assert samples["reason"][10:15].str.contains("read as ").all()
    assert (samples["verdict"][15:] == "kept").mean() > 0.9
    assert (samples["predicted_lesion_x"] == "n/a").all()


def test_a_class_with_few_images_is_a_row_with_a_note(
    collection: Store, reference: Reference, synthetic, tmp_path: Path
) -> None:
    images, rows = synthetic
    few = np.flatnonzero(rows["pathology"] == "dark")[:25]
    evaluate(SETTINGS, collection, reference, images[few], rows.iloc[few], None, tmp_path / "out")
    metrics = pd.read_csv(tmp_path / "out/metrics.csv", keep_default_na=False).set_index(["metric", "group"])
    row = metrics.loc["kid", "pathology=bright"]
    assert row["value"] == ""
    assert "0 synthetic images: needs 20" in row["note"]
    assert metrics.loc["fid", "all"]["note"].endswith("no synthetic image of bright")
    assert metrics.loc["fid", "all"]["n_synthetic"] == 25
    assert not (tmp_path / "out/curves.png").exists()


def test_bad_input_writes_nothing(collection: Store, reference: Reference, synthetic, tmp_path: Path) -> None:
    images, rows = synthetic
    with pytest.raises(InputError, match=r"synthetic images are \(80, 1, 32, 31\), expected \(80, 1, 32, 32\)"):
        evaluate(SETTINGS, collection, reference, images[..., :-1], rows, None, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_every_kind_has_its_metrics_and_every_stratum_its_rows(tmp_path: Path) -> None:
    """The images themselves, asked for by what they show: the value is about the floor."""
    count = 150
    fields: dict[str, dict] = {"pathology": {"kind": "categorical", "values": CLASSES}}
    table, masks = (
        pd.DataFrame({"pathology": np.array(CLASSES)[np.arange(count) % 2]}),
        np.zeros((count, 32, 32), np.uint8),
    )
    images = np.full((count, 1, 32, 32), 30000, np.int64)
    for seed, kind in enumerate(("ordinal", "number", "multi_label", "lesions", "mask")):
        shown, cells, outlines = toy(kind, count, 2, 32, seed)
        images += shown.astype(np.int64) // 5 - 6500
        masks += outlines
        fields[kind] = FIELDS[kind].model_dump()
        table = table.join(
            cells.drop(columns="other", errors="ignore").rename(columns=lambda name, to=kind: to + name[1:])
        )
    images = (images + 3000 * (table["pathology"] == "bright").to_numpy()[:, None, None, None]).clip(0, 65535)
    rows = np.arange(count)
    samples = table.assign(
        image=[f"{row}.png" for row in rows],
        subject_id=[f"s{row}" for row in rows],
        split=np.select([rows < 90, rows < 120], ["train", "val"], "test"),
    )
    info = StoreInfo(
        version=1, dataset="d", modality="chest_xray", size=(32, 32), channels=1, conditions=fields, label="pathology",
        strata=("pathology", "ordinal"), simulated=False, structures=STRUCTURES, rows_in=count, rows_out=count,
        rows_quarantined=0, digest="0" * 64,
    )  # fmt: skip
    store = Store(info, images.astype(np.uint16), masks, samples)
    asked = table.assign(sample_id=[f"d-m-{row:06d}" for row in rows], mask_of=[str(row) for row in rows])
    evaluate(SETTINGS, store, look(JUDGES, store), store.images, asked, None, tmp_path / "out")
    found = pd.read_csv(tmp_path / "out/metrics.csv").set_index(["metric", "group"])["value"]
    expected = {
        ("accuracy", "pathology"), ("accuracy", "pathology=dark"), ("within_one_step", "ordinal"),
        ("within_one_step", "ordinal=3"), ("kept_rate", "ordinal=0"), ("rank_correlation", "number"),
        ("sensitivity", "multi_label=left"), ("balanced_accuracy", "multi_label=top"), ("mean_dice", "mask"),
        ("volume_similarity", "mask"), ("volume_effect", "mask=block"), ("anatomical_accuracy", "mask"),
        ("detection_sensitivity", "lesions"), ("lesion_kind_accuracy", "lesions"), ("kid", "pathology=bright"),
    }  # fmt: skip
    assert expected <= set(found.index) and found[sorted(expected - {("kid", "pathology=bright")})].notna().all()
    assert ("accuracy", "ordinal") not in found.index
    judged = pd.read_csv(tmp_path / "out/samples.csv", dtype=str, keep_default_na=False)
    assert {"predicted_ordinal", "predicted_multi_label", "predicted_lesions_2_kind"} <= set(judged)
    assert set(judged["predicted_ordinal"]) <= set("01234")
