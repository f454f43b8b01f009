"""Two Snakemakes in one folder, one that is killed, clocks that disagree, and results on another disk: real DAGs."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from tests.faults.conftest import contents, signalled, wait_until_gone
from tests.workflow.test_dag import ROOT, check_release, planned, snakemake

pytestmark = pytest.mark.xdist_group("faults_dag")  # the run below is made once
DAY = 24 * 3600


class Work:
    """A folder in which one tiny model on one dataset is made, its results on another disk where there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shared_memory = Path("/dev/shm")
        other = os.access(shared_memory, os.W_OK) and shared_memory.stat().st_dev != folder.stat().st_dev
        self.disk = Path(tempfile.mkdtemp(prefix="medsynth-test-", dir=shared_memory if other else folder.parent))
        (folder / "results").symlink_to(self.disk)
        config = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
        config["models"] = {"haar": config["models"]["haar"]}
        config["models"]["haar"]["training"] = {"images": 160, "validate_every": 80, "checkpoint_seconds": 1e-9}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        self.arguments = ["--cores", "1", "--configfile", folder / "config.yaml", "--directory", folder]
        self.arguments += ["--max-checksum-file-size", "100MB"]

    def run(self, *more: str) -> subprocess.CompletedProcess:
        return snakemake(ROOT, *self.arguments, *more)

    def start(self) -> subprocess.Popen:
        """Start Snakemake in a session of its own, and return when its training has a checkpoint.

        The training stops itself before the second one is in place: it cannot end before it is killed.
        """
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", *self.arguments]
        stopped = {"PYTHONPATH": signalled(self.folder / "site", signal.SIGSTOP, checkpoint=2)}
        with (self.folder / "output").open("w") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=output,
                env=os.environ | stopped | {"PATH": os.defpath},
                start_new_session=True,
            )
        while not (self.disk / "train/tiny/haar/checkpoints/last.safetensors").exists():
            assert process.poll() is None, self.output()
            time.sleep(0.05)
        return process

    def output(self) -> str:
        return (self.folder / "output").read_text()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    made = Work(tmp_path_factory.mktemp("work"))
    yield made
    shutil.rmtree(made.disk)


@pytest.fixture(scope="module")
def told(work) -> dict[str, subprocess.CompletedProcess | str]:
    """What was said by a Snakemake started beside another, after both were killed, and after the lock was lifted."""
    first = work.start()
    second = work.run()
    alive = first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    wait_until_gone(first.pid)
    locked = work.run()
    unlocked = work.run("--unlock")
    assert unlocked.returncode == 0, unlocked.stdout
    return {"second": second, "alive": alive, "locked": locked, "ended": work.run()}


def test_a_second_snakemake_is_refused_and_the_first_goes_on(fault, told) -> None:
    fault("two Snakemakes in one folder")
    assert told["second"].returncode != 0 and "Directory cannot be locked" in told["second"].stdout
    assert "Traceback" not in told["second"].stdout
    assert told["alive"], "the second Snakemake ended the first"


def test_a_killed_snakemake_goes_on_from_its_checkpoint(fault, told, work) -> None:
    fault("SIGKILL of Snakemake and all its jobs")
    assert told["locked"].returncode != 0 and "--unlock" in told["locked"].stdout
    assert told["ended"].returncode == 0, told["ended"].stdout
    assert "resumed at step 1 " in (work.disk / "diagnostics/train/tiny/haar.log").read_text()
    assert "Nothing to be done" in work.run().stdout


def test_results_on_another_disk_are_whole(fault, told, work) -> None:
    fault("results on another disk")
    release = work.disk / "release/tiny/haar"
    check_release(release)
    rows = sum((release / name).read_text().count("\n") - 1 for name in ("metadata.csv", "rejected.csv"))
    assert rows == 24
    assert not [name for name in contents(work.disk) if ".part" in name]


def test_a_clock_that_was_ahead_is_refused_before_anything_is_deleted(fault, told, work) -> None:
    """Every file of a step is from the future, and code has changed: what follows would seem out of date for ever."""
    whole = contents(work.disk)
    stamps = {path: path.stat().st_mtime for path in (work.disk / "sample/tiny/haar").iterdir()}
    now = time.time()
    for path in stamps:
        os.utime(path, (now + DAY,) * 2)
    fault("clock skew: shards from the future")
    done = work.run("--forcerun", "evaluate")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "in the future" in line]
    ahead = re.search(r"sample/tiny/haar/shard_0\.csv was last changed (\d+) s in the future.*`touch`", line)
    assert now + DAY - time.time() - 1 < int(ahead[1]) <= DAY
    after = contents(work.disk)
    assert {name for name in whole if after.get(name) != whole[name]} == set()
    for path in stamps:
        path.touch()  # what the message asks for
    assert planned(work.run("-n")) == {}, "the shards are as they were, and so is their checksum"
    release = (work.disk / "release/tiny/haar/SHA256SUMS").read_bytes()
    done = work.run("--forcerun", "release", "--until", "release")
    assert done.returncode == 0, done.stdout
    assert (work.disk / "release/tiny/haar/SHA256SUMS").read_bytes() == release


def test_old_times_rerun_nothing_whose_content_is_the_same(fault, told, work) -> None:
    """A clock that was behind leaves outputs that are older than their inputs, which a second run would not mend.

    By itself, Snakemake compares the content of files below 1 MB alone, and takes larger ones for changed; `Work` asks
    for more.
    """
    work.run()
    for path in (work.disk / "release/tiny/haar").glob("*.*"):
        os.utime(path, (time.time() - DAY,) * 2)
    fault("clock skew: outputs older than their inputs")
    assert planned(work.run("-n")) == {}
    tables = [work.disk / "prepare/tiny" / name for name in ("store.json", "samples.csv")]
    for path in tables:
        path.touch()
    fault("clock skew: inputs newer than their outputs")
    assert planned(work.run("-n")) == {}


def test_a_table_from_the_future_is_refused_before_it_is_prepared(fault, tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config/examples/chest_xray_table.yaml").read_text())
    [dataset] = config["datasets"].values()
    table = tmp_path / dataset["source"]["table"]
    table.write_text("image,subject_id\n")
    os.utime(table, (time.time() + DAY,) * 2)
    fault("clock skew: a table from the future")
    arguments = ["--cores", "1", "--configfile", ROOT / "config/examples/chest_xray_table.yaml"]
    done = snakemake(ROOT, *arguments, "--directory", tmp_path, "--config", f"data_root={tmp_path}")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert f"{table} was last changed" in done.stdout and not (tmp_path / "results/prepare").exists()
