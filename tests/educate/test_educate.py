from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.config import EducateSettings
from medsynth.educate.educate import educate
from medsynth.errors import InputError

COUNT = 48


def samples() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples of both classes at ages 0 to 94; every third one is not kept."""
    ids = [f"d-m-{row:06d}" for row in range(COUNT)]
    label = ["low", "high"] * 24
    rows = pd.DataFrame({"sample_id": ids, "pathology": label, "age_years": [str(2 * row) for row in range(COUNT)]})
    verdicts = pd.DataFrame(
        {
            "sample_id": ids[::-1],
            "predicted_pathology": label[::-1],
            "verdict": [("rejected", "surplus", "kept", "kept")[row % 4] for row in range(COUNT)][::-1],
            "misread_gate": "on",
        }
    )
    return rows, verdicts


def settings(**education) -> EducateSettings:
    return EducateSettings(seed=1, education={"cases": 2} | education)


def answers(store, out: Path, strips: Path | None = None, **education) -> pd.DataFrame:
    educate(settings(**education), store, store.images, *samples(), strips, out)
    return pd.read_csv(out / "answers.csv", dtype=str)


def test_cases_are_kept_samples_by_class_and_level_without_their_answer(store, tmp_path: Path) -> None:
    table = answers(store, tmp_path / "out", graded="age_years")
    age = table["asked_age_years"].astype(float)
    counts = table.groupby(["asked_pathology", pd.cut(age, [-1, 33.3, 66.6, 100])], observed=True).size()
    assert counts.tolist() == [2] * 6
    assert (table["sample_id"].str[-6:].astype(int) % 4 >= 2).all()  # kept
    assert (table["asked_pathology"] == table["predicted_pathology"]).all()
    names = sorted(path.name for path in (tmp_path / "out/cases").iterdir())
    assert names == [f"{name}.png" for name in table["case"]] == [f"case_{number:03d}.png" for number in range(1, 13)]
    assert table["asked_pathology"].tolist() != sorted(table["asked_pathology"])  # in random order
    with Image.open(tmp_path / "out/cases/case_001.png") as page:
        assert set(page.info) == {"Disclaimer"} and "not for diagnosis" in page.info["Disclaimer"]
        brightness = np.asarray(page.convert("L"))[:512].mean()
    bright = store.images[int(table["sample_id"][0][-6:])].mean() / 65535 * 255
    assert brightness == pytest.approx(bright, abs=3)  # the image that the answers name


def test_the_seed_decides_the_cases(store, tmp_path: Path) -> None:
    first, again = (answers(store, tmp_path / name) for name in ("a", "b"))
    assert first.equals(again) and len(first) == 4


def test_too_few_kept_samples_are_said(store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = answers(store, tmp_path / "out", cases=20)
    assert len(table) == 24
    assert "pathology low: 12 of 20 cases, no more samples of it were kept" in caplog.text


def test_strips_are_added_without_their_tables(store, tmp_path: Path) -> None:
    strips = tmp_path / "strips"
    strips.mkdir()
    for name in ("0-sex.png", "0-sex.gif", "vary.csv"):
        (strips / name).write_text(name)
    answers(store, tmp_path / "out", strips)
    assert {path.name for path in (tmp_path / "out/strips").iterdir()} == {"0-sex.png", "0-sex.gif"}


def test_verdicts_of_other_samples_and_nothing_kept_are_refused(store, tmp_path: Path) -> None:
    rows, verdicts = samples()
    with pytest.raises(InputError, match="48 samples, 47 verdicts, 47 in both"):
        educate(settings(), store, store.images, rows, verdicts[1:], None, tmp_path / "out")
    with pytest.raises(InputError, match="none of 48 samples was kept"):
        educate(settings(), store, store.images, rows, verdicts.assign(verdict="rejected"), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
