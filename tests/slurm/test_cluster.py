"""The workflow on a SLURM that runs here: the same release as on one machine, and every kind of lost job made good.

What a test needs it names where it skips; a GPU may be a pretended one.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.xdist_group("slurm")

MODEL = "results/train/tiny/haar/model.safetensors"
LOG = "results/diagnostics/train/tiny/haar.log"
# One thread on either side, since the number of threads changes sums; one model's training at the least of its time.
SAME = ["--max-threads", "1"]
SLURM = [*SAME, "--workflow-profile", "slurm", "--latency-wait", "20"]
QUICK = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1"]


def history(folder: Path) -> pd.DataFrame:
    columns = ["step", "images_seen", "loss", "val_loss", "learning_rate"]
    return pd.read_csv((folder / MODEL).with_name("history.csv"))[columns]


def answer(*command: str) -> str:
    """What a command of SLURM prints, "" where it fails or is absent."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> str:
    """The cluster's configuration."""
    if "idle" not in answer("sinfo", "--noheader", "--format=%T"):
        pytest.skip("no idle node answers sinfo; install slurm-wlm and munge, and start slurmctld and slurmd")
    nodes = [row.split() for row in answer("sinfo", "--noheader", "--format=%m %G").splitlines()]
    if not any(int(memory) >= 12_000 and "gpu" in gres for memory, gres in nodes):
        pytest.skip("no node of this SLURM has 12 GB and a GPU: raise RealMemory, add Gres=gpu:1 in slurm.conf")
    return answer("scontrol", "show", "config")


@pytest.fixture(scope="module")
def local(tmp_path_factory, snakemake) -> Path:
    """A folder where the tiny configuration has been run without SLURM."""
    folder = tmp_path_factory.mktemp("local")
    status, output = snakemake(folder, "--cores", "2", *SAME)
    assert status == 0, output
    return folder


@pytest.fixture
def untrained(local: Path, tmp_path: Path) -> Path:
    """A copy of that folder in which one model is not trained."""
    folder = tmp_path / "work"
    shutil.copytree(local, folder)
    shutil.rmtree((folder / MODEL).parent)
    return folder


def with_training(values: dict, folder: Path, **training) -> Path:
    """A configuration in which the model is trained in another way."""
    model = values["models"]["haar"]
    changed = model | {"training": model["training"] | training}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values | {"models": values["models"] | {"haar": changed}}, sort_keys=False))
    return path


def running() -> list[list[str]]:
    """Number and node of every job that runs."""
    rows = answer("squeue", "--noheader", "--states=RUNNING", "--format=%A %N").splitlines()
    return [row.split() for row in rows]


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


def submitted(output: str) -> list[str]:
    return re.findall(r"submitted with SLURM jobid (\d+)", output)


def wait_until(true, what: str, seconds: float = 600) -> None:
    """Guards against a cluster that hangs; the wait itself is not what is tested."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


def first_job(process: subprocess.Popen) -> tuple[str, str]:
    """The first job's number, and what was printed so far."""
    seen = ""
    for line in process.stdout:
        seen += line
        if found := submitted(line):
            return found[0], seen
    raise AssertionError(seen)


def ended(process: subprocess.Popen) -> str:
    """The rest of the output; a run that never ends is killed, and its return code says so."""
    try:
        return process.communicate(timeout=600)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


# --- the same as on one machine ---------------------------------------------------------------------------------


def through_faults(process: subprocess.Popen, folder: Path, lose) -> tuple[str, str]:
    """Lose the node of the first job, and cancel a job after the first model: that job's number, and the output."""
    log = folder / "output"
    with log.open("w") as file:
        reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=file)  # a full pipe would stop Snakemake

    def alive() -> bool:
        assert process.poll() is None, log.read_text()[-5000:]
        return True

    wait_until(lambda: alive() and running(), "the first job")
    lost, node = running()[0]
    lose(node)
    wait_until(lambda: "Restarts=1" in answer("scontrol", "show", "job", lost), "the lost job to be queued again", 60)
    wait_until(lambda: alive() and (folder / MODEL).exists(), "the first model")
    before = [number for number, _ in running()]  # these may end at any moment
    wait_until(lambda: alive() and [number for number, _ in running() if number not in before], "a job to cancel")
    cancelled = next(number for number, _ in running() if number not in before)
    subprocess.run(["scancel", cancelled], check=True)
    process.wait()
    reader.wait()
    output = log.read_text()
    assert process.returncode == 0, output[-5000:]
    return cancelled, output


def test_release_through_faults_is_that_of_one_machine(local: Path, tmp_path: Path, start, lose, record_property):
    """The node of the first job dies, and a job after the first model is cancelled."""
    cancelled, output = through_faults(start(tmp_path, *SLURM, *QUICK), tmp_path, lose)
    assert set(re.findall(r"SLURM-job '(\d+)' failed", output)) == {cancelled} and "CANCELLED" in output
    # prepare and reference; of either model train, tune, two shards of sample, evaluate, gates, browse and release; one
    # again
    assert len(set(submitted(output))) == 2 + 2 * (1 + 1 + 2 + 1 + 1 + 1 + 1) + 1
    for model in ("haar", "student"):
        release = Path("results/release/tiny") / model
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / release, check=True)
        for table in ("metadata.csv", "rejected.csv"):
            assert (tmp_path / release / table).read_text() == (local / release / table).read_text()
        assert (tmp_path / f"results/track/tiny/{model}.json").exists()
    for kind in ("node lost", "job cancelled"):
        record_property("fault", kind)


def test_two_nodes_train_as_one_process_does(untrained: Path, values: dict, snakemake) -> None:
    path = with_training(values, untrained, images=320, validate_every=160, batch_size=4)
    status, output = snakemake(untrained, MODEL, "--cores", "2", *SAME, config=path)
    assert status == 0, output
    one = history(untrained)
    shutil.rmtree((untrained / MODEL).parent)
    spread = ["train:mpi=srun", "train:tasks=2", "train:nodes=2", "train:gpu=0"]
    status, output = snakemake(untrained, MODEL, *SLURM, *QUICK, "--set-resources", *spread, config=path)
    assert status == 0, output
    [job] = submitted(output)
    assert re.search(r"NumNodes=2 .*NumTasks=2", answer("scontrol", "show", "job", job))
    pd.testing.assert_frame_equal(history(untrained), one, rtol=1e-2)


# --- lost jobs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status_command", ["squeue", "sacct"])
def test_job_out_of_memory_is_sent_again_with_more(cluster, untrained: Path, snakemake, status_command) -> None:
    """Its GPU is asked for by gres, as where GPUs are known by that alone."""
    if status_command == "sacct" and "accounting_storage/slurmdbd" not in cluster:
        pytest.skip("this SLURM keeps no accounts: install slurmdbd and a MariaDB, and start slurmdbd")
    if "OverMemoryKill" not in cluster and "task/cgroup" not in cluster:
        pytest.skip("this SLURM does not hold jobs to their memory: OverMemoryKill or task/cgroup is not set")
    scarce = ["--set-resources", "train:mem_mb=250*attempt**2", "train:gres=gpu:1"]
    status, output = snakemake(untrained, MODEL, *SLURM, *QUICK, *scarce, "--slurm-status-command", status_command)
    assert status == 0, output
    jobs = submitted(output)
    assert len(jobs) >= 2 and f"SLURM-job '{jobs[0]}' failed" in output
    shown = [answer("scontrol", "show", "job", job) for job in jobs]
    memory = [re.search(r"mem=(\d+)M", text)[1] for text in shown]
    assert memory == [str(250 * attempt**2) for attempt in range(1, len(jobs) + 1)]
    assert all("gres/gpu=1" in text or "gres:gpu:1" in text for text in shown)


def test_time_limit_leaves_a_checkpoint_to_go_on_from(untrained: Path, values: dict, start) -> None:
    """The job's end is moved to now, which SLURM notices within half a minute; one and a half are trained in all."""
    endless = {"images": 10**9, "minutes": 1.5, "patience": None, "checkpoint_seconds": 10**6}
    path = with_training(values, untrained, validate_every=5000, **endless)
    (untrained / LOG).unlink()  # of the run on one machine
    process = start(untrained, MODEL, *SLURM, *QUICK, config=path)
    job, seen = first_job(process)
    wait_until(lambda: "train:" in (untrained / LOG).read_text() if (untrained / LOG).exists() else False, "training")
    checkpoint = untrained / "results/train/tiny/haar/checkpoints/last.safetensors"
    assert not checkpoint.exists()
    subprocess.run(["scontrol", "update", f"JobId={job}", "EndTime=now"], check=True)
    wait_until(checkpoint.exists, "the checkpoint")
    seen += ended(process)
    assert process.returncode == 0, seen
    assert len(submitted(seen)) == 2 and f"SLURM-job '{job}' failed, SLURM status is: 'TIMEOUT'" in seen
    step = re.search(r"resumed at step (\d+)", (untrained / LOG).read_text())
    assert step and int(step[1]) > 0


# --- what cannot run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            ["--set-resources", "train:mem_mb=10**9 if attempt > 2 else 1000"],
            r"attempt 3 of rule train: .*=10{9}",
        ),
        (["--default-resources", "slurm_partition=nowhere"], r"Invalid partition.*slurm_partition=nowhere"),
        (["--set-resources", "train:gpu=99"], r"rule train: .*not available.*gpu=99"),
        (["--set-resources", "train:gres=gpu:99"], r"rule train: .*not available.*gres=gpu:99"),
        (["--set-resources", "evaluate:mem_mb=10**9"], r"rule evaluate: .*mem_mb=1000000000"),
    ],
)
def test_impossible_request_is_one_line_before_any_job(snakemake, tmp_path: Path, asked, line: str) -> None:
    status, output = snakemake(tmp_path, *SLURM, *QUICK, *asked)
    assert status == 1 and "Traceback" not in output and not submitted(output)
    assert sum(bool(re.search(line, text)) for text in output.splitlines()) == 1, output
