from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth import cli
from medsynth.arguments import build_parser
from medsynth.conditions.kind import Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Lesions, ReferenceSettings, VarySettings
from medsynth.reference.reference import look
from medsynth.train.loop import train
from medsynth.vary import vary as step
from tests.sample.conftest import tuned
from tests.train.test_loop import settings as train_settings

JUDGES = ReferenceSettings(seed=0, reader_epochs=2, readers=1, planted_copies=4, extractor="efficientnet_lite0")


def test_change_is_measured_inside_and_outside_of_the_lesions_surroundings() -> None:
    schema = ConditionSchema({"lesion": Lesions(kind="lesions")}, 2)
    rows = pd.DataFrame({"lesion_x": ["0.5"] * 3, "lesion_y": ["0.5"] * 3, "lesion_size": ["0.2"] * 3})
    rows = rows.assign(subject=0, along="lesion_size")
    images = np.zeros((3, 1, 40, 40), np.uint16)
    images[1, :, 18:22, 18:22] = 65535  # 16 pixels within the disc of diameter 16
    images[2] = 32768
    found = step._changes(schema, rows, images)
    about = schema.kinds["lesion"].surroundings(schema.parts(schema.encode(rows))["lesion"], (40, 40))
    inside = int(about[0].sum())
    assert inside == pytest.approx(np.pi * 8.5**2, rel=0.05)  # half a pixel out, as lesions are drawn
    assert found["change_inside"].tolist() == pytest.approx([0, 16 / inside, 0.5], abs=1e-4)
    assert found["change_outside"].tolist() == pytest.approx([0, 0, 0.5], abs=1e-4)


def test_a_strip_without_a_lesion_changes_outside_alone(store) -> None:
    rows = pd.DataFrame({"pathology": ["low", "high"], "age_years": "5", "subject": 0, "along": "pathology"})
    found = step._changes(store.info.condition_schema, rows, np.stack([store.images[0], store.images[0] + 6554]))
    assert np.isnan(found["change_inside"]).all()
    assert found["change_outside"].tolist() == pytest.approx([0, 0.1], abs=1e-3)


def test_a_strip_has_the_statistics_of_its_condition(store) -> None:
    asked = ["0", "50", "100"]
    strip = pd.DataFrame({"pathology": "low", "age_years": asked, "subject": 4, "along": "age_years", "asked": asked})
    reading = Reading(pd.DataFrame({"pathology": "low", "age_years": [10.0, 50.0, 70.0]}), {})
    frames = pd.DataFrame({"change_inside": [0, 0.2, 0.6], "change_outside": [0, 0.1, 0.1]})
    found = step._strip_table(store.info.condition_schema, strip, None, reading, frames).set_index("statistic")["value"]
    assert found["rank_correlation"] == 1 and found["mean_absolute_error"] == pytest.approx(40 / 3)
    assert found["change_outside_over_inside"] == pytest.approx(0.25)


def test_strips_of_a_trained_model(store, tmp_path: Path) -> None:
    train(train_settings(images=64), store, tmp_path / "train")
    weights = tmp_path / "train/model.safetensors"
    sampler = tuned(weights, tmp_path / "sampler.json")
    reference = look(JUDGES, store)
    planned = store.split("train").samples.assign(sample_id="d-m-0", seed="1")
    settings = VarySettings(subjects=(5, 6), along=("age_years=0:90:3", "pathology"), held={})
    step.vary(settings, store, reference, planned, weights, sampler, tmp_path / "out")
    names = {f"{subject}-{column}{suffix}" for subject in (5, 6) for column in ("age_years", "pathology")
             for suffix in (".png", ".gif")}  # fmt: skip
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "vary.csv", "strips.csv"}
    frames = pd.read_csv(tmp_path / "out/vary.csv", dtype=str, keep_default_na=False)
    assert frames["asked"].tolist() == ["0", "45", "90", "low", "high"] * 2
    assert (frames["held_from"] == "").all()  # neither places a lesion
    moved = frames["along"].map(lambda column: f"predicted_{column}")
    assert [row[name] for (_, row), name in zip(frames.iterrows(), moved, strict=True)] == frames["read"].tolist()
    with Image.open(tmp_path / "out/5-age_years.gif") as shown:
        assert shown.n_frames == 4 and b"Synthetic, not for diagnosis" in shown.info["comment"]  # 0, 1, 2, 1
    with Image.open(tmp_path / "out/5-age_years.png") as sheet:
        assert "Synthetic, not for diagnosis" in sheet.info["Disclaimer"]
    likeness = frames[["nearest_similarity", "nearest_similarity_of_parts"]].astype(float)
    assert likeness.abs().le(1.001).all(axis=None) and likeness.nunique().gt(1).all()
    again = VarySettings(subjects=(6,), along=("age_years=0:90:3",))
    step.vary(again, store, reference, planned, weights, sampler, tmp_path / "again")
    alone = pd.read_csv(tmp_path / "again/vary.csv", dtype=str, keep_default_na=False)
    of_both = frames[(frames["subject"] == "6") & (frames["along"] == "age_years")].reset_index(drop=True)
    same = [column for column in alone if column.startswith(("asked", "subject", "frame"))]
    assert alone[same].equals(of_both[same])


def test_lesions_hold_the_image_about_them_unless_the_command_says_no() -> None:
    arguments = ["vary", "chest/m", "--subject", "1", "--along", "severity=0:1:2", "--out", "out"]
    assert build_parser().parse_args(arguments).held_outside and VarySettings(subjects=(1,), along=("x",)).held_outside
    assert not build_parser().parse_args([*arguments, "--no-held-outside"]).held_outside


def test_a_run_that_is_no_run_is_refused(tmp_path: Path, capsys) -> None:
    arguments = ["--subject", "1", "--along", "sex", "--results", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="medsynth vary: got 'chest', expected DATASET/MODEL"):
        cli.main(["vary", "chest", *arguments])
    with pytest.raises(SystemExit):
        cli.main(["vary", "chest/m", *arguments, "--with", "sex"])
    assert "expected COLUMN=VALUE" in capsys.readouterr().err
