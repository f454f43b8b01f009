"""GPUs are shared out by the kernel's locks: real processes, made-up GPUs."""

import subprocess
import sys
from pathlib import Path

import pytest

from medsynth.errors import InputError
from medsynth.machine import gpus

pytestmark = pytest.mark.slow  # each test starts several processes that import torch

# torch as it looks to a process that CUDA shows these GPUs; says what it got and holds it until its input ends.
PROGRAM = """
import logging, sys
from types import SimpleNamespace
from pathlib import Path
import torch
from medsynth.machine import devices
from medsynth.machine import gpus
logging.basicConfig(level="INFO", format="%(message)s")
folder, *seen = sys.argv[1:]
gpus.LOCKS, gpus.POLL_SECONDS = Path(folder), 0.05
torch.cuda.is_available = lambda: bool(seen)
torch.cuda.device_count = lambda: len(seen)
torch.cuda.get_device_properties = lambda index: SimpleNamespace(uuid=seen[index])
torch.cuda.set_device = lambda index: None
device = devices.choose_device()
assert devices.choose_device() == device
print(device.type if device.index is None else seen[device.index], device.index, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path: Path):
    """Start a process that sees some GPUs."""
    started = []

    def begin(*seen: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "locks"), *seen]
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
    assert second.stderr.readline() == "every one of 1 GPUs is taken by another medsynth process: waiting for one\n"
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
            gpus.claim(["GPU-a"], tmp_path / name)
