"""What an edit reruns, job by job: nothing that does not use what was edited.

The DAG is run by a stand-in for the package's commands, which leaves the files that a step leaves and computes nothing:
Snakemake records the same inputs, settings and digests of code as in a real run.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import snakemake

pytestmark = pytest.mark.xdist_group("reruns")  # the fixture below is made once

STAND_IN = """
import sys
from pathlib import Path

FILES = {
    "prepare": "store.json images.npy samples.csv split.csv quarantine.csv duplicates.csv",
    "reference": "reference.safetensors reference.json readings.csv",
    "train": "model.safetensors model.json history.csv strip.png reconstructions.safetensors",
    "tune": "sampler.json tried.csv tried.png contact_sheet.png",
    "evaluate": "metrics.csv samples.csv copy_limits.csv contact_sheet.png curves.png adherence.png nearest.png",
    "gates": "gates.csv",
    "release": "SHA256SUMS metadata.csv metadata.schema.json rejected.csv real_split.csv gates.csv generator.json "
    "README.md gallery.html",
}
step, out = sys.argv[1], Path(sys.argv[sys.argv.index("--out") + 1])
names = FILES.get(step, "").split()
beside = [out.with_suffix(end) for end in (".csv", ".json")] if step == "sample" else []
files = [out / name for name in names] or [out, *beside]
for path in files:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step)
"""


def dataset(phantom: str, modality: str, dims: int, models: list[str], **conditions: dict) -> dict:
    return {
        "source": {"kind": "phantom", "phantom": phantom, "count": 10},
        "modality": modality,
        "size": [32] * dims,
        "conditions": {"pathology": {"kind": "categorical", "values": ["a", "b"]}, **conditions},
        "label": "pathology",
        "plan": {"request": {"kind": "balance", "column": "pathology"}},
        "models": models,
    }


STAGES = [{"channels": [8]}]
CONFIG = {
    "datasets": {
        "rays": dataset("chest_xray", "chest_xray", 2, ["plain", "edged", "student"], lesion={"kind": "lesions"}),
        "trunk": dataset("ellipsoids", "ct_volume", 3, ["plain"], grade={"kind": "ordinal", "values": [0, 1, 2]}),
    },
    "models": {
        "plain": {"family": "diffusion", "stages": STAGES},
        "edged": {"family": "diffusion", "stages": STAGES, "losses": {"edge": {"weight": 0.1}}},
        "student": {"family": "consistency", "parents": {"teacher": "plain"}, "steps": [4]},
    },
}
OF_A_MODEL = ("train", "tune", "sample", "evaluate", "gates", "browse", "release")
RAYS = ("rays/plain", "rays/edged", "rays/student")


def jobs(steps: tuple[str, ...], *runs: str) -> set[str]:
    return {f"{step} {run}" for step in steps for run in runs}


def planned(done: subprocess.CompletedProcess) -> set[str]:
    """step dataset[/model] of each job of a dry run, by the command that it would run.

    `track` is left out: it waits for all releases, and finds again what it has logged.
    """
    assert done.returncode == 0, done.stdout
    return {
        f"{step} {place}"
        for step, place in re.findall(r"-m medsynth (\w+) .*?--out results/\w+/(\w+(?:/\w+)?)", done.stdout)
        if step != "track"
    }


@pytest.fixture(scope="module")
def run(checkout: Path, tmp_path_factory) -> Iterator[list[str | Path]]:
    """Arguments of a folder in which all has been made."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    command = checkout / "medsynth/__main__.py"
    whole = command.read_text()
    command.write_text(STAND_IN)
    arguments = ["--cores", "2", "--configfile", folder / "config.yaml", "--directory", folder]
    done = snakemake(checkout, *arguments)
    assert done.returncode == 0, done.stdout
    yield arguments
    command.write_text(whole)


def after(checkout: Path, run: list[str | Path], *more: str) -> set[str]:
    return planned(snakemake(checkout, *run, "-n", "-p", *more))


def test_nothing_is_left_to_do(checkout: Path, run) -> None:
    assert "Nothing to be done" in snakemake(checkout, *run, "-n").stdout


EVERY = ("rays/plain", "rays/edged", "rays/student", "trunk/plain")
AFTER_PREPARE = {"prepare rays", "reference rays"} | jobs(OF_A_MODEL, *RAYS)
TRUNK = {"prepare trunk", "reference trunk"} | jobs(OF_A_MODEL, "trunk/plain")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("models/families/consistency.py", jobs(OF_A_MODEL, "rays/student")),
        ("models/families/diffusion.py", jobs(OF_A_MODEL, *EVERY)),
        ("models/losses/edge.py", jobs(OF_A_MODEL, "rays/edged")),
        ("phantoms/ellipsoids.py", TRUNK),
        ("phantoms/chest_xray.py", AFTER_PREPARE),
        ("conditions/ordinal.py", TRUNK),
        ("conditions/lesions.py", AFTER_PREPARE),
        ("conditions/mask.py", set()),
        ("evaluate/figures.py", jobs(("evaluate", "gates", "browse", "release"), *EVERY)),
        ("evaluate/metrics/distances.py", jobs(("evaluate", "gates", "browse", "release"), *EVERY)),
        ("tune/score.py", jobs(OF_A_MODEL[1:], *EVERY) | jobs(("train",), "rays/student")),
        ("sample/plan.py", jobs(OF_A_MODEL[2:], *EVERY)),
        ("gates/thresholds.py", jobs(("gates", "browse", "release"), *EVERY)),
        ("images/formats/dicom.py", set()),
        ("config/family.py", set()),
        ("registry.py", set()),
    ],
)
def test_an_edit_reruns_what_uses_it_and_what_follows(checkout: Path, run, module: str, expected: set[str]) -> None:
    path = checkout / "medsynth" / module
    source = path.read_text()
    try:
        path.write_text(source + "# edited\n")
        assert after(checkout, run) == expected
    finally:
        path.write_text(source)


def test_a_store_that_is_prepared_again_and_is_what_it_was_reruns_nothing(checkout: Path, run) -> None:
    path = checkout / "medsynth/phantoms/chest_xray.py"
    source = path.read_text()
    try:
        path.write_text(source + "# edited\n")
        done = snakemake(checkout, *run, "--until", "prepare")
        assert done.returncode == 0, done.stdout
        assert "Nothing to be done" in snakemake(checkout, *run, "-n").stdout
    finally:
        path.write_text(source)
        snakemake(checkout, *run, "--until", "prepare")
