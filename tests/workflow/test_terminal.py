"""What a run shows: a line a job, how far the long ones are, last the line of a failed step; and what a dry run leaves.

The package's commands are a stand-in: `train` shows a bar and waits for the test, `sample` fails.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medsynth import config
from tests.workflow.conftest import snakemake
from tests.workflow.test_reruns import STAGES, STAND_IN, dataset

pytestmark = pytest.mark.xdist_group("terminal")  # the fixture below is made once

MODEL = {"plain": {"family": "diffusion", "stages": STAGES}}
CONFIG = {"datasets": {"rays": dataset("chest_xray", "chest_xray", 2, ["plain"])}, "models": MODEL}
SLOW_OR_BROKEN = """
import time
print(f"{step}:  40%|####      | 40/100 [00:04<00:06,  8.00it/s]", end="\\r", flush=True)
if step == "prepare":
    print("\\nWARNING medsynth.prepare.table: one row is odd\\nWARNING other: of a library", flush=True)
while step == "train" and not Path("go").exists():
    time.sleep(0.05)
if step == "sample":
    sys.exit("medsynth sample: images.npy: damaged\\nmedsynth sample: look there")
"""


@pytest.fixture(scope="module")
def command(checkout: Path, tmp_path_factory) -> list[str | Path]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    (checkout / "medsynth/__main__.py").write_text(STAND_IN + SLOW_OR_BROKEN)
    terminal = checkout / "workflow/rules/terminal.smk"
    text = terminal.read_text()
    assert "SECONDS = 10, 10" in text
    terminal.write_text(text.replace("SECONDS = 10, 10", "SECONDS = 10, 0"))
    return ["--cores", "2", "--configfile", folder / "config.yaml", "--directory", folder]


@pytest.fixture(scope="module")
def shown(checkout: Path, command) -> list[str]:
    """The lines of a run; its training ends when a line has said how far it is."""
    folder = command[-1]
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--snakefile", checkout / "workflow/Snakefile", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PATH": os.defpath},
    )
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if "train plain on rays: 40 %" in line:
            (folder / "go").touch()
    assert process.wait() == 1, lines
    return lines


def test_a_dry_run_writes_no_result(checkout: Path, command, tmp_path: Path) -> None:
    done = snakemake(checkout, *command[:-1], tmp_path, "-n", "-p")
    assert done.returncode == 0 and "--settings results/diagnostics/settings/prepare-" in done.stdout
    assert not (tmp_path / "results").exists()


def test_each_job_is_one_line_that_says_how_far_the_run_is(shown) -> None:
    numbered = [re.match(r"\[(\d+) of 11\] (\w+) ", line) for line in shown]  # all eleven, `all` itself aside
    numbered = [found.groups() for found in numbered if found]
    assert [int(number) for number, _ in numbered] == [*range(1, len(numbered) + 1)]
    steps = [step for _, step in numbered if step != "reference"]  # which may come after the one that fails, or never
    assert steps == ["prepare", "train", "tune", "sample"]
    noise = ("Finished jobid", "Select jobs", "Reason:", "Execute ")
    assert [line for line in shown if line.startswith(noise)] == []


def test_a_training_says_how_far_it_is_and_what_is_left(shown) -> None:
    assert shown.count("    train plain on rays: 40 %, 00:06 left") == 1


def test_what_a_step_warns_of_is_said_when_it_has_ended(shown) -> None:
    at = shown.index("    warning: one row is odd")
    assert at > next(place for place, line in enumerate(shown) if " of 11] prepare " in line)
    assert [line for line in shown if "warning:" in line] == [shown[at]]


def test_a_failed_run_ends_in_the_lines_of_its_step(shown) -> None:
    assert shown[-3:] == [
        "sample rays from plain, shard 0 failed, its log is results/diagnostics/sample/rays/plain/shard_0.log",
        "medsynth sample: images.npy: damaged",
        "medsynth sample: look there",
    ]


def test_snakemake_keeps_its_whole_account(shown, command) -> None:
    [log] = (command[-1] / ".snakemake/log").iterdir()
    assert "Finished jobid" in log.read_text() and "Error in rule sample" in log.read_text()


def test_a_step_is_given_its_part_of_the_configuration(shown, command) -> None:
    folder = command[-1]
    whole = config.load(folder / "config.yaml")
    of = {
        "prepare": whole.prepare("rays"),
        "train": whole.train("rays", "plain"),
        "sample": whole.sample("rays", "plain"),
    }
    for step, settings in of.items():
        [path] = (folder / "results/diagnostics/settings").glob(f"{step}-*.json")
        assert config.parse_json(type(settings), path.read_bytes(), path.name) == settings


def test_a_settings_file_that_was_changed_is_written_again(checkout: Path, shown, command) -> None:
    [path] = (command[-1] / "results/diagnostics/settings").glob("sample-*.json")
    whole = path.read_text()
    path.write_text("{}")
    assert snakemake(checkout, *command).returncode == 1
    assert path.read_text() == whole
