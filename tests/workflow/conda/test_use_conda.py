"""`--use-conda`: the rules are wired to an environment, and its pins are the lock's.

Snakemake wants a real conda, 24.7.1 or later, and conda the public channels. Here are neither: `conda` is stand_in.py,
conda-forge is channel.py, and the libraries' files are those of the Python that runs the tests. So nothing here says
that the public channels hold those builds, that they work together, or that conda behaves as its stand-in.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conda import channel
from tests.workflow.conftest import ROOT, snakemake

pytestmark = pytest.mark.xdist_group("conda")  # the run below is made once

ENVIRONMENT = "workflow/envs/medsynth.yaml"
STEPS = {"prepare", "reference", "train", "tune", "sample", "evaluate", "gates", "browse", "release"}
STEPS |= {"track_initialise", "track"}
TARGET = "results/train/tiny/haar/model.json"


def arguments(checkout: Path, folder: Path) -> list[str | Path]:
    tiny = ["--configfile", checkout / "config/tiny.yaml", "--directory", folder]
    return ["--cores", "2", "--use-conda", *tiny, TARGET]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    """A PATH with the stand-in."""
    pytest.importorskip("rattler", reason="py-rattler is not installed: it has no wheel for every platform")
    base, conda_forge = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("channel")
    channel.build(conda_forge)
    command = shlex.join(map(str, [sys.executable, Path(__file__).with_name("stand_in.py"), base, conda_forge]))
    (base / "bin").mkdir()
    (base / "bin/conda").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (base / "bin/conda").chmod(0o755)
    (base / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    return f"{base / 'bin'}{os.pathsep}{os.defpath}"


@pytest.fixture(scope="module")
def trained(checkout: Path, path: str, tmp_path_factory) -> Path:
    """The folder of a run with conda, to the end of training."""
    folder = tmp_path_factory.mktemp("work")
    done = snakemake(checkout, *arguments(checkout, folder), path=path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Activating conda environment: .snakemake/conda/") == 2, done.stdout
    return folder


def test_every_rule_has_the_environment() -> None:
    rules = "".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    bodies = re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", rules, re.MULTILINE)
    assert {name for name, _ in bodies} == STEPS | {"utility", "membership", "vary", "educate"}
    assert [name for name, body in bodies if "    conda:\n        CONDA_ENV\n" not in body] == []


def test_environment_holds_what_its_file_pins(trained: Path) -> None:
    *libraries, _ = yaml.safe_load((ROOT / ENVIRONMENT).read_text())["dependencies"]
    pins = dict(library.split("=") for library in libraries if library != "pip")
    [environment] = trained.glob(".snakemake/conda/*/")
    records = [json.loads(path.read_text()) for path in environment.glob("conda-meta/*.json")]
    installed = {record["name"]: record["version"] for record in records}
    assert {name: installed[name] for name in pins} == pins and set(installed) == {*pins, "pip"}


def test_steps_run_in_the_environment_which_has_no_medsynth(trained: Path, tmp_path: Path) -> None:
    """The package comes through PYTHONPATH alone: Snakemake takes it away, the prefix of every command sets it."""
    [python] = trained.glob(".snakemake/conda/*/bin/python")
    commands = dict.fromkeys((python.parents[1] / "commands").read_text().splitlines())
    modules = [command for command in commands if command.startswith("-m ")]  # the others are their workers
    assert modules == ["-m pip install", "-m medsynth prepare", "-m medsynth train"]
    alone = {"cwd": tmp_path, "env": {"PATH": os.defpath}, "capture_output": True, "text": True}
    assert "No module named 'medsynth'" in subprocess.run([python, "-c", "import medsynth"], **alone).stderr


@pytest.mark.parametrize("name", ["pytorch", "efficientnet-lite-pytorch"])  # by conda, by pip
def test_pin_that_is_not_the_locks_ends_the_run(checkout: Path, path: str, tmp_path: Path, name: str) -> None:
    file = checkout / ENVIRONMENT
    source = file.read_text()
    changed, pins = re.subn(rf"(- {name}=.*)", r"\1.1", source)
    assert pins == 1
    try:
        file.write_text(changed)
        done = snakemake(checkout, *arguments(checkout, tmp_path), path=path)
    finally:
        file.write_text(source)
    assert done.returncode != 0 and "Could not create conda environment" in done.stdout
    assert re.search(rf"No (candidates were|matching distribution) found for {name}[ =]+[\d.]+\.1", done.stdout)
    assert not (tmp_path / "results/prepare").exists()


@pytest.mark.skipif(bool(shutil.which("conda", path=os.defpath)), reason="this system brings a conda of its own")
def test_without_conda_one_line_says_so(checkout: Path, tmp_path: Path) -> None:
    done = snakemake(checkout, *arguments(checkout, tmp_path))
    assert done.returncode != 0 and "Traceback" not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("Error")]
    assert line.startswith("Error running conda info. Is conda installed and accessible?")
    assert not (tmp_path / "results/prepare").exists()
