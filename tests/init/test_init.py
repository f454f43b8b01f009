"""`medsynth init` on tables that are made here: what it writes must be valid, and prepare must take every row."""

import csv
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medsynth import cli, config
from medsynth.conditions.schema import ConditionSchema
from medsynth.images.formats.nifti import NIFTI
from medsynth.images.image import Image
from medsynth.init.init import init
from medsynth.prepare.prepare import prepare
from medsynth.prepare.table import read_samples
from tests.conftest import SHARED_DATA

ROWS = 24


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder that is called like its modality, with grey images and their label maps; no two are the same."""
    folder = tmp_path_factory.mktemp("root") / "lung_xray"
    (folder / "png").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for row in range(ROWS):
        PIL.Image.fromarray(rng.integers(0, 256, (80, 70), np.uint8)).save(folder / f"png/{row}.png")
        mask = np.zeros((80, 70), np.uint8)
        mask[row : row + 9] = 1 + row % 2
        PIL.Image.fromarray(mask).save(folder / f"png/{row}_mask.png")
    return folder


def write(folder: Path, columns: dict[str, list[str]], name: str = "samples.csv") -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    (folder / name).write_text(text.getvalue(), encoding="utf-8")
    return folder / name


def images(suffix: str = "") -> list[str]:
    return [f"png/{row}{suffix}.png" for row in range(ROWS)]


def parsed(table: Path, modality: str | None = None) -> config.Config:
    text = init(table, modality)
    return config.parse(config.Config, yaml.safe_load(text), "init")


FINDING = ["normal"] * 12 + ["mass"] * 8 + ["cyst"] * 4


def test_a_plain_table_is_prepared_as_it_is(pictures, tmp_path, capsys):
    ages = [str(30 + row) for row in range(ROWS)]
    table = write(pictures, {"image": images(), "subject_id": images(), "finding": FINDING, "age_years": ages})
    cli.main(["init", str(table)])
    text = capsys.readouterr().out
    whole = config.parse(config.Config, yaml.safe_load(text), "init")
    dataset = whole.datasets["lung_xray"]
    assert dataset.modality == "chest_xray" and dataset.size == (64, 64) and dataset.fit == "crop"
    assert dataset.label == "finding" and dataset.conditions["finding"].values == ("normal", "mass", "cyst")
    assert dataset.conditions["age_years"].range == (30, 60) and dataset.conditions["age_years"].unit == "years"
    assert "# Images: normal: 12 (rare), mass: 8 (rare), cyst: 4 (rare)." in text
    assert "Guessed from 'xray' in the folder's name: check." in text
    assert "Cropping cuts 12% off the longer side on average" in text  # 70 of 80
    assert dataset.plan.request.counts == dict.fromkeys(FINDING, 20)
    assert "With about 12 images to learn from, expect many of them to be rejected as copies." in text
    info = prepare(whole.prepare("lung_xray"), tmp_path / "store")
    assert (info.rows_in, info.rows_out, info.label) == (ROWS, ROWS, "finding")


def test_a_table_of_other_names_roles_and_habits_is_prepared_too(pictures, tmp_path):
    columns = {
        "": [str(row) for row in range(ROWS)],
        "Outline mask": images("_mask"),
        "File: name": images(),
        "Patient": [f"p{row // 2}" for row in range(ROWS)],
        "split": ["Training"] * ROWS,
        "Finding Labels": ["No Finding", "mass;cyst", "mass", "cyst"] * 6,
        "Is it bad?": ["yes", "no", "NA"] * 8,
        "seed": ["-1.5", "2"] * 12,
        "Scanner": ["X"] * ROWS,
        "said": [f"note {row}" for row in range(ROWS)],
    }
    table = write(pictures, columns, "odd.csv")
    text = init(table)
    whole = config.parse(config.Config, yaml.safe_load(text), "init")
    dataset = whole.datasets["odd"]
    assert dataset.source.columns == {
        "image": "File: name",
        "subject_id": "Patient",
        "mask": "Outline mask",
        "split": None,
        "finding_labels": "Finding Labels",
        "is_it_bad": "Is it bad?",
        "asked_seed": "seed",
    }
    assert dataset.source.missing == ("NA",) and dataset.label == "is_it_bad"
    findings = dataset.conditions["finding_labels"]
    assert findings.values == ("cyst", "mass") and (findings.none, findings.separator) == ("No Finding", ";")
    assert dataset.conditions["structures"].kind == "mask"
    for left in ("Scanner: the only value is 'X'", "said: a different text in every row", ": numbers the rows"):
        assert f"{left}; left out." in text
    assert "split: is not used: values 'Training', expected all of train, val, test" in text
    info = prepare(whole.prepare("odd"), tmp_path / "store")
    assert info.rows_out == ROWS and info.structures == {"structure_1": 1, "structure_2": 2}


def test_without_a_column_of_patients_each_image_is_one(pictures):
    text = init(write(pictures, {"file": images(), "label": FINDING}, "xray.csv"))
    dataset = yaml.safe_load(text)["datasets"]["xray"]
    assert dataset["source"]["columns"] == {"image": "file", "subject_id": "file"}
    assert "No column names the patients" in text


def test_a_table_of_numbers_alone_is_labelled_by_their_halves(pictures, tmp_path):
    sizes = [f"{row}.5" for row in range(ROWS)]  # 0.5 to 23.5, the median is 12
    whole = parsed(write(pictures, {"image": images(), "subject_id": images(), "size_mm": sizes}, "sizes.csv"))
    dataset = whole.datasets["sizes"]
    assert dataset.source.bins["size_mm_group"].edges == (12,) and dataset.label == "size_mm_group"
    info = prepare(whole.prepare("sizes"), tmp_path / "store")
    assert info.rows_out == ROWS


def test_a_class_too_rare_to_split_and_what_it_costs_is_said(pictures, tmp_path):
    finding = ["normal"] * 12 + ["mass"] * 10 + ["flu"] * 2
    text = init(write(pictures, {"image": images(), "subject_id": images(), "finding": finding}, "rare.csv"))
    whole = config.parse(config.Config, yaml.safe_load(text), "init")
    assert whole.datasets["rare"].conditions["finding"].values == ("normal", "mass")
    assert "Left out of it: flu, which fewer than 3 patients have" in text
    assert whole.datasets["rare"].source.max_bad_fraction == 0.15  # 1.5 times 2 of 24, and 0.02, rounded up
    assert prepare(whole.prepare("rare"), tmp_path / "store").rows_quarantined == 2


REGIONS = ["abdomen", "abdomen", "abdomen", "chest"]


def test_a_label_that_varies_within_each_patient(pictures, tmp_path):
    """Slices of volumes: most of each show the abdomen, one the chest."""
    patients = [f"p{row // 4}" for row in range(ROWS)]
    table = write(pictures, {"image": images(), "subject_id": patients, "region": REGIONS * 6}, "slices.csv")
    whole = parsed(table)
    dataset = whole.datasets["slices"]
    assert dataset.label == "region" and dataset.conditions["region"].values == ("abdomen", "chest")
    assert prepare(whole.prepare("slices"), tmp_path / "store").rows_out == ROWS


def test_a_class_that_most_rows_of_one_patient_have_and_a_row_of_each_other(pictures, tmp_path):
    patients = [f"p{row // 4}" for row in range(ROWS)]
    regions = ["chest", "chest", "chest", "abdomen", *REGIONS * 5]
    whole = parsed(write(pictures, {"image": images(), "subject_id": patients, "region": regions}, "slices.csv"))
    assert whole.datasets["slices"].conditions["region"].values == ("abdomen", "chest")
    assert prepare(whole.prepare("slices"), tmp_path / "store").rows_out == ROWS


def test_a_class_of_two_patients_is_none_even_where_they_have_many_images(pictures):
    patients = [f"p{row // 4}" for row in range(ROWS)]
    regions = (
        ["abdomen"] * 8 + ["pelvis", "pelvis", "chest", "abdomen"] * 2 + ["chest", "abdomen", "chest", "abdomen"] * 2
    )
    text = init(write(pictures, {"image": images(), "subject_id": patients, "region": regions}, "slices.csv"))
    assert "Left out of it: pelvis, which fewer than 3 patients have" in text


def test_known_grades_are_a_condition_beside_the_label(pictures, tmp_path):
    columns = {"image": images(), "subject_id": images(), "finding": FINDING, "density": ["b", "d", "a"] * 8}
    whole = parsed(write(pictures, columns, "mammo.csv"), "mammography")
    density = whole.datasets["mammo"].conditions["density"]
    assert density.kind == "ordinal" and density.values == ("a", "b", "c", "d")
    assert prepare(whole.prepare("mammo"), tmp_path / "store").rows_out == ROWS


def test_grades_of_a_known_scale_that_no_image_has_are_no_classes_of_the_label(pictures):
    columns = {"image": images(), "subject_id": images(), "dr_grade": ["0", "4", "2"] * 8}
    text = init(write(pictures, columns, "xray.csv"))
    dataset = config.parse(config.Config, yaml.safe_load(text), "init").datasets["xray"]
    assert dataset.conditions["dr_grade"].values == ("0", "2", "4") and "Left out of it" not in text


def test_a_split_that_the_table_has_is_kept(pictures):
    split = ["train", "val", "test", "train"] * 6
    table = write(pictures, {"image": images(), "subject_id": images(), "dx": FINDING, "split": split}, "split.csv")
    source = parsed(table).datasets["split"].source
    assert "split" not in source.columns  # null would leave it out


def test_grades_in_order_are_the_label_where_nothing_else_is(pictures):
    grades = [str(row % 3) for row in range(ROWS)]
    table = write(pictures, {"image": images(), "subject_id": images(), "grade": grades, "sex": ["F", "M"] * 12})
    dataset = parsed(table).datasets["lung_xray"]
    assert dataset.label == "grade" and dataset.conditions["grade"].kind == "categorical"
    assert dataset.conditions["sex"].kind == "categorical"


def test_grey_levels_of_ct_are_windowed_already_and_colour_of_ultrasound_is_left_out(pictures, tmp_path):
    columns = {"image": images(), "subject_id": images(), "finding": FINDING}
    whole = parsed(write(pictures, columns, "ct.csv"), "ct")
    assert whole.datasets["ct"].source.intensity == "windowed"
    assert prepare(whole.prepare("ct"), tmp_path / "ct").rows_out == ROWS

    (tmp_path / "ultrasound/png").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in images():
        PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "ultrasound" / name)
    whole = parsed(write(tmp_path / "ultrasound", columns, "us.csv"))
    assert whole.datasets["us"].modality == "ultrasound" and whole.datasets["us"].source.colour == "luma"
    assert prepare(whole.prepare("us"), tmp_path / "us").rows_out == ROWS


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": FINDING}, "no column names readable image files below"),
        ({"image": ["gone.png"] * ROWS, "label": FINDING}, "looked at image: 'gone.png' is no file; label: 'normal'"),
        ({"image": images(), "said": [f"k{row}" for row in range(ROWS)]}, "nothing to condition on (said: a different"),
        ({"image": images()}, "nothing to condition on (no other column)"),
        (
            {"image": images(), "x": ["a|b", "a", "b", "c"] * 6},
            "no usable label: none of x (multi_label) has classes of 3 patients",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(pictures, columns, message, capsys):
    table = write(pictures, columns, "bad.csv")
    with pytest.raises(SystemExit) as ended:
        cli.main(["init", str(table)])
    line = str(ended.value)
    assert line.startswith(f"medsynth init: {table}: ") and message in line and "\n" not in line
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: cannot be read (No such file or directory)"),
        (["empty.csv"], "empty.csv: empty, expected a header"),
        (["header.csv"], "header.csv: a header without rows"),
        (["good.csv", "--modality", "xray"], "unknown modality 'xray', did you mean 'chest_xray'?"),
        (["good.csv", "--modality", "ct_volume"], "modality ct_volume has 3 axes, the images have 2"),
        (["good.csv", "--modality", "fundus"], "1 colour channels, the modality has 3"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(pictures, arguments, message, monkeypatch):
    monkeypatch.chdir(pictures)
    Path("empty.csv").write_text("")
    Path("header.csv").write_text("image,finding\n")
    write(pictures, {"image": images(), "finding": FINDING}, "good.csv")
    with pytest.raises(SystemExit) as ended:
        cli.main(["init", *arguments])
    assert message in str(ended.value) and "\n" not in str(ended.value)


def test_volumes_in_hounsfield_units(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for row in range(9):
        voxels = rng.integers(0, 2000, (1, 20, 24, 22)).astype(np.uint16)
        assert NIFTI.encode is not None
        (tmp_path / f"{row}.nii.gz").write_bytes(NIFTI.encode(Image(voxels, affine), 1.0, -1024.0, {}))
    names = [f"{row}.nii.gz" for row in range(9)]
    whole = parsed(write(tmp_path, {"scan": names, "side": ["left", "right", "left"] * 3}, "trunk.csv"))
    dataset = whole.datasets["trunk"]
    assert dataset.modality == "ct_volume" and dataset.size == (16, 16, 16)
    assert prepare(whole.prepare("trunk"), tmp_path / "store").rows_out == 9


@pytest.mark.parametrize(
    ("name", "modality", "label"),
    [
        ("chest_xray", "chest_xray", "pathology"),
        ("breast_ultrasound", "ultrasound", "pathology"),
        ("kidney_ct", "ct", "finding"),
        ("brain_t1", "mri_volume", "sex"),
        ("hippocampus_mri", "mri_volume", "volume_ml_group"),
        ("fundus_discs", "fundus", "cup_to_disc_group"),
        ("ct_slices", "ct", "contrast_agent"),
    ],
)
def test_real_collections(name, modality, label):
    table = SHARED_DATA / name / "samples.csv"
    if not table.exists():
        pytest.skip("no real images")
    dataset = parsed(table).datasets[name]
    assert (dataset.modality, dataset.label) == (modality, label)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ODD = st.sampled_from(
    ["yes", "no", "null", "~", "1", "-", "- x", "#", "a: b", "'", '"', "é", "|", "a;b", "NA", "n/a", ""]
)


@settings(max_examples=40)
@given(
    st.lists(TEXT | ODD, min_size=1, max_size=3, unique=True), st.lists(TEXT | ODD, min_size=2, max_size=4), st.data()
)
def test_odd_names_and_values_come_back(pictures, names, values, data):
    columns = {name: data.draw(st.lists(st.sampled_from(values), min_size=ROWS, max_size=ROWS)) for name in names}
    columns |= {"image": images(), "finding": FINDING}  # there is always a label to be found
    table = write(pictures, columns, "fuzz.csv")
    whole = parsed(table)
    chosen = whole.prepare("fuzz")
    assert isinstance(chosen.source, config.TableSource)
    found = read_samples(table, ConditionSchema(chosen.conditions, 2), chosen.source)
    assert len(found.rejected) <= chosen.source.max_bad_fraction * ROWS
