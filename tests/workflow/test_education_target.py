"""The target `education`: from a phantom to a folder for students, and what an edit makes again."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.workflow.conftest import snakemake
from tests.workflow.test_reruns import planned

pytestmark = pytest.mark.xdist_group("education")  # the run below is made once

PATHOLOGIES = ["normal", "nodule"]
CONFIG = {
    "seed": 7,
    "datasets": {
        "tiny": {
            "source": {"kind": "phantom", "phantom": "chest_xray", "count": 120},
            "modality": "chest_xray",
            "size": [16, 16],
            "conditions": {
                "pathology": {"kind": "categorical", "values": [*PATHOLOGIES, "pneumonia", "effusion"]},
                "severity": {"kind": "number", "range": [0, 1]},
            },
            "label": "pathology",
            "plan": {"request": {"kind": "per_class", "column": "pathology", "counts": dict.fromkeys(PATHOLOGIES, 6)}},
            "education": {"cases": 2, "along": ["severity=0:1:3", "pathology=normal,nodule"], "subjects": 2},
        },
        "other": {
            "source": {"kind": "phantom", "phantom": "chest_xray", "count": 120},
            "modality": "chest_xray",
            "size": [16, 16],
            "conditions": {"pathology": {"kind": "categorical", "values": PATHOLOGIES}},
            "label": "pathology",
            "plan": {"request": {"kind": "per_class", "column": "pathology", "counts": {"normal": 2}}},
        },
    },
    "models": {
        "small": {
            "family": "diffusion",
            "parents": {"initial": "none"},
            "stages": [{"channels": [8]}],
            "training": {"images": 64, "validate_every": 64, "precision": "float32"},
            "sampler": {"steps": [2]},
            "tuning": {"candidates": 1, "images": 16},
        }
    },
    "judges": {"reader_epochs": 1, "readers": 1, "planted_copies": 4},
    "evaluation": {"bootstrap": 20},
}
STRIPS = {f"{subject}-{column}" for subject in (0, 1) for column in ("severity", "pathology")}


@pytest.fixture(scope="module")
def run(checkout: Path, tmp_path_factory) -> list[str | Path]:
    """Arguments of a folder in which the target was made."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    arguments = ["education", "--cores", "1", "--configfile", folder / "config.yaml", "--directory", folder]
    done = snakemake(checkout, *arguments)
    assert done.returncode == 0, done.stdout
    return arguments


@pytest.fixture
def results(run) -> Path:
    return Path(run[-1]) / "results"


def test_students_get_marked_cases_and_strips_that_are_no_copies(results: Path) -> None:
    folder = results / "educate/tiny/small"
    answers = pd.read_csv(folder / "answers.csv", dtype=str)
    verdicts = pd.read_csv(results / "evaluate/tiny/small/samples.csv", index_col="sample_id")["verdict"]
    assert len(answers) > 0 and (verdicts[answers["sample_id"]] == "kept").all()
    assert answers.groupby("asked_pathology").size().max() <= 2 and set(answers["asked_pathology"]) <= set(PATHOLOGIES)
    assert sorted(path.stem for path in (folder / "cases").iterdir()) == answers["case"].tolist()
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            assert "Synthetic, not for diagnosis" in image.info["Disclaimer"]

    limits = pd.read_csv(results / "evaluate/tiny/small/copy_limits.csv").set_index("likeness")["limit"]
    frames = pd.read_csv(results / "vary/tiny/small/vary.csv")
    assert len(frames) == 2 * (3 + 2)
    names = frames["subject"].astype(str) + "-" + frames["along"]
    copied = frames["nearest_similarity"] >= limits["whole"]
    copied |= frames["nearest_similarity_of_parts"] >= limits["parts"]
    handed_on = {path.stem for path in (folder / "strips").iterdir()}
    assert set(names) == STRIPS and handed_on == STRIPS - set(names[copied])


def test_nothing_is_released_and_other_datasets_are_left_alone(results: Path) -> None:
    assert not (results / "release").exists() and not (results / "track").exists()
    assert not list(results.glob("*/other"))


def test_nothing_is_left_to_do_and_an_edit_of_what_along_means_makes_the_strips_again(checkout: Path, run) -> None:
    assert "Nothing to be done" in snakemake(checkout, *run, "-n").stdout
    for module, expected in (
        ("config/along.py", {"vary tiny/small", "educate tiny/small"}),
        ("educate/educate.py", {"educate tiny/small"}),
        ("config/education.py", set()),
    ):
        path = checkout / "medsynth" / module
        source = path.read_text()
        try:
            path.write_text(source + "# edited\n")
            assert planned(snakemake(checkout, *run, "-n", "-p")) == expected, module
        finally:
            path.write_text(source)


def test_without_the_section_there_is_nothing_to_make(checkout: Path, tmp_path: Path) -> None:
    plain = CONFIG | {"datasets": {"other": CONFIG["datasets"]["other"]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    done = snakemake(checkout, "education", "-n", "--configfile", tmp_path / "config.yaml", "--directory", tmp_path)
    assert done.returncode != 0 and "no dataset has the section `education`" in done.stdout
