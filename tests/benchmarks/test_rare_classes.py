import json

import numpy as np
import pandas as pd
import pytest
import rare_classes
from rare_classes import likeness

from medsynth.artifacts.store import Store
from medsynth.errors import InputError

TINY = {"stages": [{"channels": [8]}, {"channels": [8]}], "sampler": {"steps": [2], "autoguidance": 1}}


@pytest.fixture
def arguments(table, tmp_path) -> list[str]:
    tiny = tmp_path / "tiny.json"
    tiny.write_text(json.dumps(TINY))
    fixed = {"table": table, "size": 32, "images": 64, "samples": 5, "reader-epochs": 1, "threads": 1}
    fixed |= {"medsynth-config": tiny, "rare": "nodule", "out": tmp_path / "out"}
    return [part for key, value in fixed.items() for part in (f"--{key}", str(value))]


def test_each_number_of_images_and_balance_has_its_row_and_pictures(arguments, tmp_path):
    rare_classes.main([*arguments, "--left", "2,6", "--balance", "1,0"])
    rows = pd.read_csv(tmp_path / "out/rare_classes.csv")
    assert tuple(rows) == rare_classes.COLUMNS
    assert rows[["left", "balance"]].to_numpy().tolist() == [[2, 1], [2, 0], [6, 1], [6, 0]]
    assert (rows["n_synthetic"] == 5).all()
    assert rows["as_asked_real"].nunique() == 1 and rows["others_as_asked_real"].nunique() == 1
    assert rows.notna().all(axis=None)
    for part in ("", "others_"):
        assert (rows[f"{part}kid"] > rows[f"{part}kid_floor"]).all()  # noise is no chest X-ray
    assert (tmp_path / "out/contact_sheet.png").stat().st_size


def test_a_class_is_thinned_in_training_alone(store: Store):
    thin = rare_classes.thinned(store, "high", 5, seed=0)
    counts = thin.samples.groupby(["split", "pathology"]).size()
    assert counts["train", "high"] == 5 and counts["train", "low"] == 16 and counts["test", "high"] == 4
    assert set(thin.samples["subject_id"]) < set(store.samples["subject_id"])
    for row, subject in enumerate(thin.samples["subject_id"]):
        assert np.array_equal(thin.images[row], store.images[int(subject[1:])])


def test_images_that_are_all_the_same_are_wholly_alike():
    rng = np.random.default_rng(0)
    several = rng.integers(0, 65535, (6, 1, 32, 32)).astype(np.uint16)
    assert likeness(np.repeat(several[:1], 6, 0)) == pytest.approx(1, abs=1e-4)
    assert likeness(several) < 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--rare", "mass"), "--rare: no class 'mass', expected one of nodule, normal"),
        (("--left", "500"), r"--left 500: there are \d+ training images of nodule"),
        (("--balance", "2"), "--balance: got '2', expected numbers from 0 to 1"),
        (("--left", "0"), "--left: got '0', expected a whole number above 0"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, change, message):
    with pytest.raises(InputError, match=message) as caught:
        rare_classes.main([*arguments, *change])
    assert "\n" not in str(caught.value)
