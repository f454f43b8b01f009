"""GPUs are shared out by the kernel's locks: real processes, made-up GPUs."""

import select
import subprocess
import sys
from pathlib import Path

import pytest

from medsynth.errors import InputError
from medsynth.machine import gpus

# torch as it looks to a process that CUDA shows these GPUs.
STAND_IN = """
import logging, sys
from types import SimpleNamespace
from pathlib import Path
import torch
from medsynth.machine import devices, gpus, launch
logging.basicConfig(level="INFO", format="%(message)s")
folder, *seen = sys.argv[1:]
gpus.LOCKS, gpus.POLL_SECONDS = Path(folder), 0.05
torch.cuda.is_available = lambda: bool(seen)
torch.cuda.device_count = lambda: len(seen)
torch.cuda.get_device_properties = lambda index: SimpleNamespace(uuid=seen[index])
torch.cuda.set_device = lambda index: None
"""
# Says what it got, and holds it until its input ends.
ALONE = (
    STAND_IN
    + """
device = devices.choose_device()
assert devices.choose_device() == device
print(device.type if device.index is None else seen[device.index], device.index, flush=True)
sys.stdin.read()
"""
)
# What a training on several GPUs becomes, in place of torchrun: says what it sees, and runs until its input ends.
SEVERAL = (
    STAND_IN
    + """
hold = "import os, sys; print(os.environ.get('CUDA_VISIBLE_DEVICES'), *sys.argv[1:], flush=True); sys.stdin.read()"
launch.TORCHRUN = ("-c", hold)
try:
    launch.launch(2, ["-m", "training"])
except launch.InputError as error:
    sys.exit(str(error))
"""
)


@pytest.fixture
def start(tmp_path: Path):
    """Start a process that sees some GPUs."""
    started = []

    def begin(*seen: str, program: str = ALONE, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-c", program, str(tmp_path / "locks"), *seen]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, env=environment, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def got(process: subprocess.Popen) -> list[str]:
    line = process.stdout.readline().split()
    assert line, process.stderr.read()
    return line


def test_each_process_gets_a_gpu_of_its_own_whatever_its_index(start) -> None:
    first = start("GPU-a", "GPU-b", "GPU-c")
    assert got(first) == ["GPU-a", "0"]
    second = start("GPU-c", "GPU-a")  # as CUDA_VISIBLE_DEVICES=2,0 shows them
    assert got(second) == ["GPU-c", "0"]
    third = start("GPU-a", "GPU-b", "GPU-c")
    assert got(third) == ["GPU-b", "1"]


def test_three_that_start_together_get_three_gpus(start) -> None:
    processes = [start("GPU-a", "GPU-b", "GPU-c") for _ in range(3)]
    assert sorted(got(process)[0] for process in processes) == ["GPU-a", "GPU-b", "GPU-c"]


@pytest.mark.parametrize("end", ["kill", "well"])
def test_who_finds_none_free_says_so_and_gets_the_first_that_is_freed(start, end) -> None:
    first = start("GPU-a")
    assert got(first) == ["GPU-a", "0"]
    second = start("GPU-a")
    assert second.stderr.readline() == "0 of 1 GPUs are free, 1 needed: waiting for other medsynth processes to end\n"
    assert second.poll() is None
    first.kill() if end == "kill" else first.stdin.close()
    assert got(second) == ["GPU-a", "0"]


def test_no_visible_gpu_means_the_cpu(start) -> None:
    assert got(start()) == ["cpu", "None"]


def test_who_assigns_gpus_is_left_to_it(start) -> None:
    """torchrun numbers its processes; a SLURM step that sees one GPU was given it, and may share it on purpose."""
    holder = start("GPU-a", "GPU-b")
    assert got(holder) == ["GPU-a", "0"]
    assert got(start("GPU-a", "GPU-b", LOCAL_RANK="0")) == ["GPU-a", "0"]
    assert got(start("GPU-a", "GPU-b", LOCAL_RANK="3")) == ["GPU-b", "1"]
    assert got(start("GPU-a", SLURM_JOB_ID="7")) == ["GPU-a", "0"]
    assert got(start("GPU-a", "GPU-b", SLURM_JOB_ID="7")) == ["GPU-b", "1"]  # several: an allocation to share out


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("open", "link"):
        with pytest.raises(InputError, match=f"{name}: expected a folder that this user owns"):
            gpus.claim(["GPU-a"], folder=tmp_path / name)


def test_who_asks_again_keeps_its_gpu_though_an_earlier_one_is_free_by_then(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_held", {})
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "locks")
    gpus.claim(["GPU-b"])
    assert gpus.claim(["GPU-a", "GPU-b"]) == [1]
    assert gpus.claim(["GPU-a", "GPU-b", "GPU-c"], 2) == [0, 1]


# --- trainings on several GPUs ----------------------------------------------------------------------------------

FOUR = ("GPU-a", "GPU-b", "GPU-c", "GPU-d")


def test_trainings_on_several_gpus_share_none_and_the_next_waits_for_enough(start) -> None:
    single = start(*FOUR)
    assert got(single) == ["GPU-a", "0"]
    first = start(*FOUR, program=SEVERAL)
    assert got(first) == ["1,2", "2", "-m", "training"]
    second = start(*FOUR, program=SEVERAL)
    waits = "1 of 4 GPUs are free, 2 needed: waiting for other medsynth processes to end\n"
    assert second.stderr.readline() == waits
    other = start(*FOUR)
    assert got(other) == ["GPU-d", "3"]  # who waits holds none
    first.kill()  # the program that the first one became has its locks
    assert got(second) == ["1,2", "2", "-m", "training"]


def test_two_that_start_together_never_wait_for_each_other(start) -> None:
    pair = [start(*FOUR[:3], program=SEVERAL) for _ in range(2)]
    waiting, _, _ = select.select([process.stdout for process in pair], [], [])
    first, second = pair if pair[0].stdout in waiting else pair[::-1]
    assert got(first)[0] == "0,1"
    assert second.stderr.readline().startswith("1 of 3 GPUs are free, 2 needed")
    first.stdin.close()
    assert got(second)[0] == "0,1"


def test_gpus_stay_named_as_they_were(start) -> None:
    assert got(start(*FOUR[:1])) == ["GPU-a", "0"]
    seen = start("GPU-c", "GPU-a", "GPU-d", program=SEVERAL, CUDA_VISIBLE_DEVICES="GPU-c9,0,MIG-7")
    assert got(seen)[0] == "GPU-c9,MIG-7"


def test_a_job_of_slurm_has_gpus_of_its_own_and_fewer_than_processes_are_one_line(start) -> None:
    assert got(start("GPU-a", "GPU-b")) == ["GPU-a", "0"]
    own = start("GPU-a", "GPU-b", program=SEVERAL, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0,1")
    assert got(own)[0] == "0,1"
    assert got(start(program=SEVERAL))[0] == "None"  # the processes share the CPU
    few = start("GPU-a", program=SEVERAL)
    assert few.wait() == 1 and few.stderr.read() == "2 processes need a GPU each, CUDA shows 1\n"
