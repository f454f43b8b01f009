import itertools
import json
import sys
from types import SimpleNamespace

import collection
import contenders
import numpy as np
import pandas as pd
import pytest
import time_to_quality

from medsynth.errors import InputError

TINY = {
    "stages": [{"channels": [8]}, {"channels": [8]}],
    "training": {"effective_batch_size": 4},
    "sampler": {"steps": [2], "autoguidance": 1},
}


@pytest.fixture(autouse=True)
def steps_of_a_quarter_of_a_second(monkeypatch) -> None:
    """A clock that goes on by 0.25 s whenever it is read, which is before and after each step."""
    readings = itertools.count()
    monkeypatch.setattr(time_to_quality, "time", SimpleNamespace(monotonic=lambda: next(readings) / 4))


@pytest.fixture
def arguments(table, tmp_path) -> list[str]:
    tiny = tmp_path / "tiny.json"
    tiny.write_text(json.dumps(TINY))
    fixed = {"table": table, "size": 32, "minutes": 0.02, "samples": 4, "threads": 1, "medsynth-config": tiny}
    return [part for key, value in fixed.items() for part in (f"--{key}", str(value))]


def test_every_contender_gets_its_rows_images_and_figures(arguments, table, tmp_path, monkeypatch):
    fewer = contenders.SETTINGS["monai"]["deep"] | {"batch_size": 2, "steps": 2}
    monkeypatch.setitem(contenders.SETTINGS["monai"], "deep", fewer)
    out = tmp_path / "out"
    time_to_quality.main([*arguments, "--contenders", "medsynth,monai", "--points", "0.5,1", "--out", str(out)])
    rows = pd.read_csv(out / "quality.csv")
    assert tuple(rows) == time_to_quality.COLUMNS
    assert rows["contender"].tolist() == ["medsynth", "medsynth", "monai", "monai"]
    assert rows["seconds"].tolist() == [0.75, 1.25] * 2 and (rows["n_synthetic"] == 4).all()  # of 0.6 and 1.2
    assert rows["images_seen"].tolist() == [3 * 4, 5 * 4, 3 * 2, 5 * 2]
    assert (rows["images_seen"] / rows["seconds"]).to_numpy() == pytest.approx(rows["images_per_s"], rel=1e-4)
    assert rows["floor"].nunique() == 1 and (rows["kid"] > rows["floor"]).all()  # noise is no chest X-ray
    for name in ("medsynth", "monai"):
        images = np.load(out / f"{name}.npy")
        assert images.dtype == np.uint8 and images.shape == (4, 32, 32)
    assert (out / "contact_sheet.png").stat().st_size and (out / "quality.png").stat().st_size


def test_a_budget_below_one_step_is_refused_before_any_training(arguments, tmp_path):
    with pytest.raises(InputError, match=r"--minutes 1e-06: one step of medsynth takes 0.0042 minutes"):
        time_to_quality.main(
            [*arguments, "--minutes", "0.000001", "--contenders", "medsynth", "--out", str(tmp_path / "out")]
        )
    assert not (tmp_path / "out/quality.csv").exists()


def test_a_missing_peer_is_named_and_the_rest_goes_on(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "denoising_diffusion_pytorch", None)
    out = tmp_path / "out"
    names = "denoising_diffusion_pytorch,medsynth"
    time_to_quality.main([*arguments, "--contenders", names, "--points", "1", "--out", str(out)])
    assert "denoising_diffusion_pytorch is left out" in (printed := capsys.readouterr().err)
    assert "pip install 'medsynth[bench]'" in printed
    assert pd.read_csv(out / "quality.csv")["contender"].tolist() == ["medsynth"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--contenders", "gan"), "unknown contender 'gan', expected some of medsynth, monai"),
        (("--contenders", "monai:huge"), "monai has no setting 'huge', expected one of deep"),
        (("--minutes", "nan"), "--minutes: got 'nan', expected a number above 0"),
        (("--points", "0.5"), "--points: the last is 0.5, expected 1"),
        (("--label", "grade"), "no column 'grade' for --label, expected one of age_years, finding"),
        (("--modality", "pet"), "--modality: got 'pet', expected one of chest_xray"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, tmp_path, change, message):
    with pytest.raises(InputError, match=message) as caught:
        time_to_quality.main([*arguments, *change, "--out", str(tmp_path / "out")])
    assert "\n" not in str(caught.value)


def test_the_label_is_the_first_column_that_looks_categorical(table):
    assert collection.read_labels(table, None) == ("finding", ("nodule", "normal"))
    assert collection.read_labels(table, "age_years")[1][:2] == ("20", "21")
