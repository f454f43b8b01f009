from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.config import EducateSettings
from medsynth.educate.educate import educate
from medsynth.errors import InputError

COUNT = 48
LIMITS = {"whole": 0.9, "parts": 0.8}


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
            "misread_check": "on",
        }
    )
    return rows, verdicts


def settings(**education) -> EducateSettings:
    return EducateSettings(seed=1, education={"cases": 2} | education)


def answers(store, out: Path, strips: Path | None = None, **education) -> pd.DataFrame:
    educate(settings(**education), store, store.images, *samples(), strips, LIMITS, out)
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


def strips_of(folder: Path, likeness: dict[tuple[int, str], list[tuple[float, float]]]) -> Path:
    """Strips whose frames are so like a training image, as a whole and of parts."""
    folder.mkdir()
    rows = [(subject, along, *pair) for (subject, along), pairs in likeness.items() for pair in pairs]
    columns = ["subject", "along", "nearest_similarity", "nearest_similarity_of_parts"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "vary.csv", index=False)
    for subject, along in likeness:
        for suffix in (".png", ".gif"):
            (folder / f"{subject}-{along}{suffix}").write_text(along)
    return folder


FAR = (0.5, 0.6)


def test_strips_are_added_without_their_tables(store, tmp_path: Path, caplog) -> None:
    answers(store, tmp_path / "out", strips_of(tmp_path / "strips", {(0, "sex"): [FAR, (0.8999, 0.7999)]}))
    assert {path.name for path in (tmp_path / "out/strips").iterdir()} == {"0-sex.png", "0-sex.gif"}
    text = (tmp_path / "out/README.md").read_text()
    assert "1 strips of one subject" in text and "Left out" not in text and "left out" not in caplog.text


def test_a_strip_with_a_copy_is_left_out_and_counted(store, tmp_path: Path, caplog) -> None:
    likeness = {(0, "sex"): [FAR, FAR], (0, "age"): [FAR, (0.9, 0.1)], (1, "sex"): [(0.2, 0.8), FAR], (1, "age"): [FAR]}
    answers(store, tmp_path / "out", strips_of(tmp_path / "strips", likeness))
    names = {path.name for path in (tmp_path / "out/strips").iterdir()}
    assert names == {"0-sex.png", "0-sex.gif", "1-age.png", "1-age.gif"}
    assert "2 of 4 strips are left out, 0-age, 1-sex: a frame is as like a training image" in caplog.text
    text = (tmp_path / "out/README.md").read_text()
    assert "2 strips of one subject" in text and "Left out: 2, with a frame as like a training image" in text


def test_without_strips_the_page_names_none(store, tmp_path: Path) -> None:
    answers(store, tmp_path / "out")
    assert not (tmp_path / "out/strips").exists() and "strips" not in (tmp_path / "out/README.md").read_text()


def test_verdicts_of_other_samples_and_nothing_kept_are_refused(store, tmp_path: Path) -> None:
    rows, verdicts = samples()
    with pytest.raises(InputError, match="48 samples, 47 verdicts, 47 in both"):
        educate(settings(), store, store.images, rows, verdicts[1:], None, LIMITS, tmp_path / "out")
    with pytest.raises(InputError, match="none of 48 samples was kept"):
        educate(
            settings(), store, store.images, rows, verdicts.assign(verdict="rejected"), None, LIMITS, tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()
