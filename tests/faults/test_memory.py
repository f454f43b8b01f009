"""Memory that is not enough: a smaller micro-batch at the same effective batch, or one line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from medsynth.artifacts.tensors import read_tensors
from medsynth.machine import devices, processes
from medsynth.train.trainer import Trainer
from tests.conftest import settings_file
from tests.faults.conftest import refused
from tests.train.test_loop import CPU, settings, write_store

MIB = 2**20
# Runs a step with so many MiB of address space more than its imports take.
LIMITED = """
import resource, sys
import psutil, torch
import medsynth.train.loop, medsynth.artifacts.store
from medsynth.cli import main
torch.optim.AdamW([torch.ones(8, requires_grad=True)], fused=True)  # imports more; threads start, whose stacks count
torch.ones(8, 8, requires_grad=True).sum().backward()
most = psutil.Process().memory_info().vms + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
main(sys.argv[2:])
"""


def training(program: list[str], store: Path, out: Path, **options) -> list[str]:
    """The command of a training whose whole batch takes more than a GiB."""
    chosen = settings(images=128, effective_batch_size=128, validate_every=128, precision="float32", **options)
    arguments = ["train", "--settings", settings_file(out.parent, chosen), "--store", store, "--out", out]
    return [sys.executable, *program, *map(str, arguments)]


def train_within(mebibytes: int, store: Path, out: Path, **options) -> subprocess.CompletedProcess:
    """Train with so much address space beside what the imports take.

    What is freed goes back at once: glibc's heap, which shrinks from its end alone, would keep it from all but itself.
    """
    command = training(["-c", LIMITED, str(mebibytes)], store, out, **options)
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment)


def is_whole(out: Path) -> None:
    """All the images were seen, in one step of the effective batch."""
    assert json.loads((out / "model.json").read_text())["images_seen"] == 128
    assert (out / "history.csv").read_text().splitlines()[-1].startswith("1,128,")


@pytest.fixture
def big_store(store, tmp_path: Path) -> Path:
    """Images of 128 x 128, of which a batch takes hundreds of MiB."""
    images = store.images.repeat(8, axis=2).repeat(8, axis=3)
    info = store.info.model_copy(update={"size": (128, 128)})
    return write_store(type(store)(info, images, None, store.samples), tmp_path / "store")


def test_a_batch_that_memory_runs_out_on_is_made_smaller_and_the_training_ends(fault, big_store, tmp_path) -> None:
    done = train_within(600, big_store, tmp_path / "train", batch_size=128)
    fault("out of memory in training")
    assert done.returncode == 0, done.stderr
    assert "step 0: out of memory; going on with 64 images at once" in done.stderr
    is_whole(tmp_path / "train")


def test_an_automatic_batch_fits_from_the_start(fault, big_store, tmp_path) -> None:
    done = train_within(600, big_store, tmp_path / "train")
    fault("little memory, batch size left to the machine")
    assert done.returncode == 0 and "out of memory" not in done.stderr, done.stderr
    is_whole(tmp_path / "train")


@pytest.fixture
def control_group():
    """A control group of 800 MiB, as SLURM and containers make them: the kernel kills who takes more."""
    name = Path("/proc/self/cgroup")
    lines = name.read_text().splitlines() if name.exists() else []
    own = [line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1].split(",")]
    if own:
        parent, limit = devices.CONTROL_GROUPS / "memory" / own[0].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit = devices.CONTROL_GROUPS, "memory.max"
    group = parent / f"medsynth-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip(f"needs leave to make a control group in {parent}")
    if not (group / limit).exists():
        group.rmdir()
        pytest.skip(f"needs the memory controller in {parent}")
    (group / limit).write_text(str(800 * MIB))
    yield group
    group.rmdir()


def test_a_training_stays_within_the_memory_of_its_job(fault, big_store, control_group, tmp_path) -> None:
    def train(name: str, **options) -> subprocess.CompletedProcess:
        command = training(["-m", "medsynth"], big_store, tmp_path / name, **options)
        script = f'echo $$ > "{control_group}/cgroup.procs"; exec "$@"'
        return subprocess.run(["sh", "-c", script, "sh", *command], stderr=subprocess.PIPE, text=True)

    fault("memory of the job too small for the whole batch")
    assert train("whole", batch_size=128).returncode == -signal.SIGKILL  # the fault is real
    done = train("automatic")
    assert done.returncode == 0, done.stderr
    is_whole(tmp_path / "automatic")


def test_memory_for_not_even_one_image_is_one_line(fault, big_store, tmp_path) -> None:
    done = train_within(4, big_store, tmp_path / "train", batch_size=64)
    fault("no memory at all")
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("medsynth train: out of memory")
    assert "Traceback" not in done.stderr and not (tmp_path / "train/model.json").exists()


def test_a_step_that_ran_out_of_memory_is_done_again_whole(fault, store, monkeypatch) -> None:
    """Memory runs out in the second of two micro-batches: the gradients of the first must not count twice.

    The stage after it has the smaller batch from its start.
    """
    small, large = (Trainer(settings(batch_size=size), store, CPU) for size in (2, 4))
    honest, calls = large.model.loss, []

    def greedy(image, *others):
        calls.append(len(image))
        if len(calls) == 2:
            fault("out of memory in training")
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return honest(image, *others)

    monkeypatch.setattr(large.model, "loss", greedy)
    small.advance()
    large.advance()
    assert calls == [4, 4, *[2] * 8] and large.images_seen == small.images_seen == 8
    for name, tensor in small.model.state_dict().items():
        torch.testing.assert_close(large.model.state_dict()[name], tensor, msg=name)


def test_other_errors_and_the_smallest_batch_are_not_tried_again(store, monkeypatch) -> None:
    for size, message in ((4, "shapes do not fit"), (1, "out of memory")):
        trainer, calls = Trainer(settings(batch_size=size), store, CPU), []

        def broken(*args, calls=calls, message=message):
            calls.append(1)
            raise RuntimeError(message)

        monkeypatch.setattr(trainer.model, "loss", broken)
        with pytest.raises(RuntimeError, match=message):
            trainer.advance()
        assert len(calls) == 1


def test_a_resumed_training_keeps_the_smaller_batch(fault, store, tmp_path) -> None:
    trainer = Trainer(settings(), store, CPU)
    trainer.batch_size = 2
    trainer.save(tmp_path / "last.safetensors")
    fault("killed after memory ran out")
    assert read_tensors(tmp_path / "last.safetensors")[1]["batch_size"] == 2
    again = Trainer(settings(), store, CPU)
    again.restore(tmp_path / "last.safetensors")
    assert again.batch_size == 2


def test_running_out_of_memory_elsewhere_is_one_line(fault, store, tmp_path, monkeypatch) -> None:
    folder = write_store(store, tmp_path / "store")

    def greedy(*args):
        fault("out of memory while reading")
        raise MemoryError("Unable to allocate 3.00 TiB for an array")

    monkeypatch.setattr(Trainer, "__init__", greedy)
    message = refused(
        "train", "--settings", settings_file(tmp_path, settings()), "--store", folder, "--out", tmp_path / "train"
    )
    assert "out of memory, give it more (Unable to allocate 3.00 TiB" in message


# --- what a job is given ----------------------------------------------------------------------------------------


def groups(folder: Path, version: int, limits: dict[str, tuple[str, int, int]]) -> Path:
    """Control groups as files: name → limit, bytes used, bytes of them that are page cache."""
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        folder, names = folder / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    for name, (most, used, cache) in limits.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / names[0]).write_text(f"{most}\n")
        (folder / name / names[1]).write_text(f"{used}\n")
        (folder / name / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_control_group_counts_and_page_cache_does_not(tmp_path, monkeypatch, version) -> None:
    limits = {"slurm/job": (str(900 * MIB), 500 * MIB, 100 * MIB), "slurm": (str(600 * MIB), 550 * MIB, 0)}
    if version == 2:
        limits["slurm/job/step"] = ("max", 10 * MIB, 0)
    groups(tmp_path, version, limits)
    membership = tmp_path / "membership"
    membership.write_text({1: "4:cpu,memory:/slurm/job/step\n9:name=systemd:/\n", 2: "0::/slurm/job/step\n"}[version])
    monkeypatch.setattr(devices, "CONTROL_GROUPS", tmp_path)
    assert sorted(devices._left_in_control_groups(membership)) == [50 * MIB, 500 * MIB]


def test_free_memory_is_what_the_machine_and_the_limits_all_leave() -> None:
    """On a large machine, in a process of its own: no other thread takes memory between the limit and the answer."""
    assert 0 < devices.free_memory() <= psutil.virtual_memory().total
    program = (
        "import resource, types\n"
        "from medsynth.machine import devices\n"
        "devices.psutil.virtual_memory = lambda: types.SimpleNamespace(available=2**40)\n"
        "devices._left_in_control_groups = lambda: iter(())\n"
        "taken = devices.psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 300 * 2**20,) * 2)\n"
        "print(devices.free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert 200 * MIB < int(done.stdout) <= 301 * MIB


def test_the_processes_of_a_machine_share_what_it_leaves_but_not_their_own_limits(monkeypatch) -> None:
    class Machine:
        available = 800 * MIB

    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: Machine)
    monkeypatch.setattr(devices, "_left_in_control_groups", lambda: iter([600 * MIB]))
    monkeypatch.setattr(devices, "_left_in_address_space", lambda: iter([200 * MIB]))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert devices.free_memory() == 200 * MIB
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert devices.free_memory() == 200 * MIB  # 300 of the job
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert devices.free_memory() == 150 * MIB


def test_processes_that_srun_starts_know_how_many_share_their_node(monkeypatch) -> None:
    """Of a step of five tasks, two are on this node: the variables that srun sets, and those of torchrun."""
    step = {"SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": "3", "SLURM_GTIDS": "3,4", "SLURM_JOB_ID": "7"}
    place = step | {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}
    monkeypatch.setattr(processes, "os", SimpleNamespace(environ=place))
    processes._follow_srun()
    assert (place["RANK"], place["WORLD_SIZE"], place["LOCAL_WORLD_SIZE"]) == ("3", "5", "2")
