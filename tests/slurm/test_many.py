"""Two datasets with two models each run through by themselves while a node dies, a job is cancelled, one runs out of
memory."""

import csv
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.slurm.test_cluster import QUICK, SLURM, answer, cluster, wait_until  # noqa: F401 - cluster is a fixture

pytestmark = pytest.mark.xdist_group("slurm")

MODELS = ("haar", "other")
DATASETS = ("d01", "d02")
ASKED = {"normal": 2, "pneumonia": 2}
SCARCE = "train:mem_mb=250*attempt**2 if wildcards.dataset in 'd02' and wildcards.model in 'haar' else 2000"


@pytest.fixture(scope="module")
def config(values: dict, tmp_path_factory) -> Path:
    tiny = values["datasets"]["tiny"]
    request = {"kind": "per_class", "column": "pathology", "counts": ASKED}
    each = tiny | {"source": tiny["source"] | {"count": 60}, "plan": {"request": request, "shards": 2}}
    model = values["models"]["haar"] | {"training": {"images": 160, "validate_every": 80}}
    values = values | {
        "datasets": {name: each for name in DATASETS},
        "models": {name: model for name in MODELS},
        "judges": {"reader_epochs": 1, "readers": 1, "planted_copies": 4},
    }
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture
def lose() -> Iterator[Callable[[str], None]]:
    """lose(node): take a node down with all that runs on it; it comes back after the test."""
    lost = []

    def lose(node: str) -> None:
        subprocess.run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"], check=True)
        lost.append(node)

    yield lose
    for node in lost:
        # Refused where the node has come back by itself (ReturnToService).
        subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], capture_output=True)
    idle = ("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N")
    wait_until(lambda: set(lost) <= set(answer(*idle).split()), f"{lost} again")


def running() -> list[list[str]]:
    """Number and node of every job that runs."""
    rows = answer("squeue", "--noheader", "--states=RUNNING", "--format=%A %N").splitlines()
    return [row.split() for row in rows]


def test_many_runs_end_whole_through_faults(config: Path, tmp_path: Path, lose, start, record_property) -> None:
    log = tmp_path / "output"
    process = start(tmp_path, *SLURM, *QUICK, "--set-resources", "train:gpu=1", SCARCE, config=config)
    with log.open("w") as file:
        reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=file)  # a full pipe would stop Snakemake

    def alive() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        return True

    def trained() -> list[Path]:
        return list((tmp_path / "results/train").glob("*/*/model.safetensors"))

    wait_until(lambda: alive() and running(), "the first job")
    lost, node = running()[0]
    lose(node)
    wait_until(lambda: "Restarts=1" in answer("scontrol", "show", "job", lost), "the lost job to be queued again", 60)
    wait_until(lambda: alive() and trained(), "the first model")
    wait_until(running, "a job to cancel")
    cancelled = running()[0][0]
    subprocess.run(["scancel", cancelled], check=True)

    process.wait()
    reader.wait()
    output = log.read_text()
    assert process.returncode == 0, output[-5000:]
    assert f"SLURM-job '{cancelled}' failed" in output
    assert len(set(re.findall(r"rule_train/d02_haar/(\d+)\.log", output))) > 1, "memory never ran out"
    keys = Counter()
    for dataset in DATASETS:
        for model in MODELS:
            release = tmp_path / "results/release" / dataset / model
            subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=release, check=True)
            rows = [
                row["sample_id"]
                for name in ("metadata.csv", "rejected.csv")
                for row in csv.DictReader((release / name).open(encoding="utf-8"))
            ]
            assert len(rows) == sum(ASKED.values())
            keys.update(rows)
            assert (tmp_path / f"results/track/{dataset}/{model}.json").exists()
    assert len(keys) == len(DATASETS) * len(MODELS) * sum(ASKED.values()) and set(keys.values()) == {1}
    for kind in ("node lost", "job cancelled", "job out of memory"):
        record_property("fault", f"{kind}, among 4 runs")
