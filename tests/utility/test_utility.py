"""Samples that show their class are worth something where real ones are few; samples that do not are not."""

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.store import Store, StoreInfo
from medsynth.config import Utility, UtilitySettings
from medsynth.errors import InputError
from medsynth.utility.arms import DUPLICATES, REAL, SYNTHETIC, UNFILTERED
from medsynth.utility.utility import utility

CLASSES = ("left", "right")
SETTINGS = UtilitySettings(seed=0, utility=Utility(seeds=2, steps=60, doses=(1.0, 4.0), side=16, bootstrap=40))


def images_of(labels: np.ndarray, seed: int, shown: float = 1.0) -> np.ndarray:
    """uint16 (n, 1, 16, 16): noise with a brighter spot on one side or the other."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.5, 0.15, (len(labels), 1, 16, 16))
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(2, 11), rng.integers(1, 4) + 8 * label
        image[0, y : y + 4, x : x + 4] += 0.13 * shown
    return (images.clip(0, 1) * 65535).astype(np.uint16)


def store_of(train: int = 12, test: int = 80, dims: int = 2) -> Store:
    labels = np.arange(train + test + 2) % 2
    rows = np.arange(len(labels))
    samples = pd.DataFrame({
        "image": [f"{row}.png" for row in rows], "subject_id": [f"s{row}" for row in rows],
        "split": np.select([rows < train, rows < train + 2], ["train", "val"], "test"),
        "side": np.array(CLASSES)[labels], "affine": "",
    })  # fmt: skip
    info = StoreInfo(
        version=2, dataset="d", modality="chest_xray", simulated=False, size=(16, 16), channels=1,
        conditions={"side": {"kind": "categorical", "values": CLASSES}}, label="side", structures={},
        rows_in=len(rows), rows_out=len(rows), rows_quarantined=0, digest="0" * 64,
    )  # fmt: skip
    return Store(info, images_of(labels, 0), None, samples)


def samples_of(count: int, shown: float):
    labels = np.arange(count) % 2
    rows = pd.DataFrame({"sample_id": [f"d-m-{n}" for n in range(count)], "side": np.array(CLASSES)[labels]})
    verdicts = rows[["sample_id"]].assign(
        requested_probability="", conformity="", misread_check="", nearest_similarity="", verdict="kept", reason=""
    )
    return images_of(labels, 1, shown), rows, verdicts


def measured(tmp_path, shown: float, **changes):
    images, rows, verdicts = samples_of(96, shown)
    utility(SETTINGS, store_of(**changes), images, rows, verdicts, tmp_path / "out")
    return pd.read_csv(tmp_path / "out/utility.csv").set_index(["arm", "metric", "group"])


def test_true_samples_help_where_real_images_are_few(tmp_path):
    table = measured(tmp_path, shown=1.0)
    many = table.loc[("real + 4 x synthetic", "auroc", "all")]
    assert many["difference"] > 0.03 and many["difference_high"] >= many["difference"] >= many["difference_low"]
    assert many["baseline"] in (REAL, DUPLICATES) and many["n_real"] == 12 and many["n_synthetic"] == 48
    assert table.loc[(SYNTHETIC, "auroc", "all"), "value"] > 0.85
    assert (tmp_path / "out/utility.png").stat().st_size > 10_000
    trials = pd.read_csv(tmp_path / "out/trials.csv")
    of_arm = trials[(trials["arm"] == SYNTHETIC) & (trials["metric"] == "auroc")]["value"]
    assert of_arm.mean() == pytest.approx(table.loc[(SYNTHETIC, "auroc", "all"), "value"]) and len(of_arm) == 2
    assert {("recall", name) for name in CLASSES} <= {index[1:] for index in table.index}


def test_the_gain_is_of_the_best_way_with_kept_samples_and_holds_for_all_of_them(tmp_path):
    table = measured(tmp_path, shown=1.0).reset_index()
    gains = pd.read_csv(tmp_path / "out/gain.csv").set_index(["metric", "group"])
    assert set(gains.index) == {
        ("utility_auroc_gain", "all"), *(("utility_recall_gain", f"side={name}") for name in CLASSES)
    }  # fmt: skip
    able = table[(table["n_synthetic"] > 0) & (table["arm"] != UNFILTERED) & (table["metric"] == "auroc")]
    best = able.loc[able["value"].idxmax()]
    gain = gains.loc[("utility_auroc_gain", "all")]
    assert gain["value"] == pytest.approx(best["difference"]) and gain["n_synthetic"] == best["n_synthetic"]
    assert gain["note"].startswith(f"{best['arm']} over {best['baseline']}")
    assert gain["ci_low"] <= best["difference_low"] and gain["ci_high"] >= best["difference_high"]


def test_without_a_kept_sample_there_is_no_gain_and_a_note_says_so(tmp_path):
    images, rows, verdicts = samples_of(8, 1.0)
    utility(SETTINGS, store_of(), images, rows, verdicts.assign(verdict="rejected"), tmp_path / "out")
    gains = pd.read_csv(tmp_path / "out/gain.csv")
    assert gains["value"].isna().all() and set(gains["note"]) == {"no sample was kept"}


def test_samples_that_show_nothing_are_worth_nothing(tmp_path):
    table = measured(tmp_path, shown=0.0)
    assert abs(table.loc[(SYNTHETIC, "auroc", "all"), "value"] - 0.5) < 0.2
    assert table.loc[("real + 4 x synthetic", "auroc", "all"), "difference_low"] < 0


def test_the_same_settings_give_the_same_bytes(tmp_path):
    first = measured(tmp_path / "a", shown=1.0)
    assert measured(tmp_path / "b", shown=1.0).equals(first)


def test_few_test_subjects_are_insufficient(tmp_path):
    table = measured(tmp_path, shown=1.0, test=10)
    assert (table["note"].str.contains("insufficient: 10 test subjects, needs 20")).all()


def test_verdicts_of_other_samples_and_a_split_of_one_class_are_refused(tmp_path):
    images, rows, verdicts = samples_of(8, 1.0)
    with pytest.raises(InputError, match="8 samples, 7 verdicts, 7 in both"):
        utility(SETTINGS, store_of(), images, rows, verdicts[1:], tmp_path / "out")
    alone = store_of()
    alone.samples.loc[alone.samples["split"] == "test", "side"] = "left"
    with pytest.raises(InputError, match="test has 1 classes of side, needs 2"):
        utility(SETTINGS, alone, images, rows, verdicts, tmp_path / "out")
    assert not (tmp_path / "out").exists()
