import json

import losses
import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.store import digest
from medsynth.errors import InputError
from tests.contracts.examples import toy_store
from tests.train.test_loop import write_store

TINY = {"stages": [{"channels": [8]}, {"channels": [8]}], "sampler": {"steps": [2], "autoguidance": 1}}


@pytest.fixture
def arguments(tmp_path) -> list[str]:
    tiny = tmp_path / "tiny.json"
    tiny.write_text(json.dumps(TINY))
    fixed = {"images": 64, "reader-epochs": 1, "threads": 1, "medsynth-config": tiny, "out": tmp_path / "out"}
    return [part for key, value in fixed.items() for part in (f"--{key}", str(value))]


def test_each_loss_has_its_row_beside_none_of_the_same_seed(arguments, table, tmp_path):
    losses.main([*arguments, "--table", str(table), "--size", "32", "--losses", "edge:100,perceptual:1e-6"])
    rows = pd.read_csv(tmp_path / "out/losses.csv", keep_default_na=False, na_values=[""])
    assert tuple(rows) == losses.COLUMNS
    assert rows["loss"].tolist() == ["none", "edge", "perceptual"] and rows["weight"].tolist() == [0, 100, 1e-6]
    measured = ["cpu_seconds", "val_loss", "kid", "floor", "coverage", "finest_octave", "as_asked", "as_asked_real"]
    assert rows[measured].notna().all(axis=None) and rows["mask_dice"].isna().all()
    assert (rows["kid"] > rows["floor"]).all() and (rows["cpu_seconds"] > 0).all()  # noise is no chest X-ray
    none, edge, hardly = rows["val_loss"]
    assert hardly == pytest.approx(none, rel=1e-5) and edge != none  # they begin the same
    assert (tmp_path / "out/contact_sheet.png").stat().st_size


def test_a_store_with_masks_is_read_as_asked(arguments, tmp_path):
    store = toy_store("mask", 2, 32)
    folder = write_store(store, tmp_path / "store")
    np.save(folder / "masks.npy", store.masks)
    info = store.info.model_copy(update={"digest": digest(folder, store.info)})
    (folder / "store.json").write_text(info.model_dump_json())
    losses.main([*arguments, "--store", str(folder), "--losses", "anatomical:0.1", "--repeats", "2"])
    rows = pd.read_csv(tmp_path / "out/losses.csv")
    assert rows["seed"].tolist() == [0, 0, 1, 1]
    assert rows["mask_dice"].between(0, 1).all() and rows["mask_dice_real"].nunique() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--losses", "edge"), "--losses edge: got '', expected a number above 0"),
        (
            ("--losses", "lpips:1"),
            "--losses: unknown 'lpips', expected some of charbonnier, edge, perceptual, anatomical",
        ),
        (("--losses", "edge:1", "--store", "s"), "expected one of --table and --store"),
        (("--losses", "edge:1", "--images", "0"), "--images: got '0', expected a whole number above 0"),
        (("--losses", "anatomical:1"), "losses.anatomical needs a condition of kind mask, got finding"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, table, change, message):
    with pytest.raises(InputError, match=message) as caught:
        losses.main([*arguments, "--table", str(table), "--size", "32", *change])
    assert "\n" not in str(caught.value)
