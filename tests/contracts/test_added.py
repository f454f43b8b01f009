"""A new family, and a new loss, is one file and one line of the registry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.examples import toy_store
from tests.train.test_loop import write_store

ROOT, ADDED = Path(__file__).parents[2], Path(__file__).parent / "added"
FAMILY = "medsynth.models.families.prototype"
LINES = {
    "FAMILIES": f'"prototype": Entry("{FAMILY}:PrototypeModel", "{FAMILY}:Prototype")',
    "LOSSES": '"brightness": Entry("medsynth.models.brightness:brightness")',
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("added")
    shutil.copytree(ROOT / "medsynth", folder / "medsynth", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ADDED / "prototype.py", folder / "medsynth/models/families")
    shutil.copy(ADDED / "brightness.py", folder / "medsynth/models")
    registry = folder / "medsynth/registry.py"
    text = registry.read_text()
    for table, line in LINES.items():
        opening = f"\n{table} = {{\n"
        assert text.count(opening) == 1
        text = text.replace(opening, f"{opening}    {line},\n")
    registry.write_text(text)
    write_store(toy_store("categorical", 2), folder / "store")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, str(ADDED / "run.py"), str(folder)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_each_phase_runs_at_its_steps_and_at_its_rate(report):
    assert report["moved"] == {"critic": list(range(0, 40, 2)), "drawn": list(range(20, 40))}
    assert report["rates"] == pytest.approx({"critic": 0.05, "drawn": 0.1})
    assert report["terms"] == ["critic", "error", "fooled"]


def test_only_what_sampling_needs_is_saved(report):
    assert report["saved"] == {
        "drawn.layer.weight": "torch.float32",
        "drawn.layer.bias": "torch.float32",
        "drawn.seen": "torch.int64",
    }


def test_an_average_leaves_whole_numbers_alone(report):
    assert report["seen"] == 20 * 8


def test_without_a_score_the_last_average_is_kept_and_training_does_not_end_early(report):
    assert report["as_trained"] and report["images_seen"] == 320
    assert report["val_loss"] is None and report["history_val_loss"] == []


def test_it_draws_what_it_is_asked_for_by_seed(report):
    assert report["shape"] == [2, 1, 8, 8] and report["same"] and report["other"]
    dark, bright = report["means"]
    assert dark == pytest.approx(-0.3, abs=0.15) and bright == pytest.approx(0.3, abs=0.15)  # as the toy is drawn


def test_conditions_that_it_does_not_follow_are_refused(report):
    honoured, refused = report["refusals"]
    assert honoured == ""
    assert refused == (
        "c.yaml: top level: datasets.d and models.m: a prototype model follows categorical, conditions.y is number"
    )


def test_the_loss_has_its_weight_and_acts_below_its_noise_level(report):
    loss = report["loss"]
    assert loss["stage_1_brightness"] > 0
    assert loss["loss"] == pytest.approx(loss["stage_1"] + 2 * loss["stage_1_brightness"], rel=1e-4)
    assert 0 < report["acts"] < 32
