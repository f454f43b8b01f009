"""SIGKILL at any write of a step: nothing half-written under its name, and a rerun gives the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medsynth import config
from medsynth.artifacts.tensors import read_tensors
from medsynth.cli import main
from tests.conftest import settings_file
from tests.faults.conftest import (
    alive,
    contents,
    deaths,
    release_arguments,
    sample_arguments,
    signalled,
    wait_until_gone,
)
from tests.train.test_loop import settings, start, write_store

PREPARE = config.PrepareSettings(
    seed=1,
    dataset="d",
    source={"kind": "phantom", "phantom": "chest_xray", "count": 40},
    modality="chest_xray",
    size=(16, 16),
    fit="pad",
    conditions={"pathology": {"kind": "categorical", "values": ["normal", "pneumonia", "nodule", "effusion"]}},
    label="pathology",
    split=config.Split(),
)


def run(arguments: list) -> None:
    main([str(argument) for argument in arguments])


def whole_or_absent(folder: Path, whole: dict[str, bytes]) -> None:
    """No file under its own name differs from that of an unbroken run."""
    for name, content in contents(folder).items():
        hidden = any(part.startswith(".") for part in Path(name).parts)
        assert hidden or whole[name] == content, f"{name} is half-written"


def test_prepare_killed_at_any_write(fault, tmp_path: Path) -> None:
    out = tmp_path / "prepare/d"
    arguments = ["prepare", "--settings", settings_file(tmp_path, PREPARE), "--out", out]
    run(arguments)
    whole = contents(out.parent)
    for _ in deaths(lambda: run(arguments)):
        fault("SIGKILL in prepare")
        whole_or_absent(out.parent, whole)
        assert not out.exists() or contents(out) == {name.removeprefix("d/"): data for name, data in whole.items()}
    assert contents(out.parent) == whole  # the temporary folders of all the dead are gone, too


def test_sample_killed_at_any_write(fault, results) -> None:
    whole = contents(results["sample"])
    for _ in deaths(lambda: run(sample_arguments(results))):
        fault("SIGKILL in sample")
        whole_or_absent(results["sample"], whole)
    assert contents(results["sample"]) == whole


def test_release_killed_at_any_write(fault, results) -> None:
    run(release_arguments(results))
    whole = contents(results["release"])
    for _ in deaths(lambda: run(release_arguments(results))):
        fault("SIGKILL in release")
        assert not results["release"].exists() or contents(results["release"]) == whole
    assert contents(results["release"]) == whole
    assert [path.name for path in results["release"].parent.iterdir()] == ["m"]


def test_train_killed_at_any_write_goes_on(fault, store, tmp_path: Path) -> None:
    """Each death is followed by a restart from what it left, so that one training dies at every place in turn."""
    folder, out = write_store(store, tmp_path / "store"), tmp_path / "train"
    options = settings_file(tmp_path, settings(images=16, checkpoint_seconds=1e-9))
    arguments = ["train", "--settings", options, "--store", folder, "--out"]
    run([*arguments, tmp_path / "whole"])
    expected, _ = read_tensors(tmp_path / "whole/model.safetensors")
    for number in deaths(lambda: run([*arguments, out])):
        fault("SIGKILL in train")
        for path in [*out.glob("model.*"), *out.glob("checkpoints/*")]:
            if path.suffix == ".safetensors" and not path.name.startswith("."):
                read_tensors(path)
        if number % 4 == 3:
            shutil.rmtree(out, ignore_errors=True)  # else a late death finds nothing left to do
    tensors, _ = read_tensors(out / "model.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, msg=name)
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(fault, store, tmp_path, monkeypatch, number) -> None:
    """One checkpoint a step; the signal comes before the fourth of ten is in place."""
    folder = write_store(store, tmp_path / "store")
    chosen = settings(images=80, checkpoint_seconds=1e-9, validate_every=20)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", signalled(tmp_path / "site", number, 4))
        process = start(folder, tmp_path / "broken", chosen)
    fault(f"{number.name} in the middle of a training")
    _, message = process.communicate()
    assert process.returncode != 0 and not (tmp_path / "broken/model.json").exists()
    assert number == signal.SIGKILL or "start again to go on" in message
    step = read_tensors(tmp_path / "broken/checkpoints/last.safetensors")[1]["step"]
    assert step == {signal.SIGKILL: 3, signal.SIGTERM: 5}[number]  # SIGTERM lets the step that it meets end
    assert start(folder, tmp_path / "broken", chosen).communicate()[1].count(f"resumed at step {step}") == 1
    start(folder, tmp_path / "whole", chosen).communicate()
    (broken, of_broken), (whole, of_whole) = (
        read_tensors(tmp_path / name / "model.safetensors") for name in ("broken", "whole")
    )
    assert of_broken == of_whole
    for name, tensor in whole.items():
        torch.testing.assert_close(broken[name], tensor, msg=name)


def prepare_process(out: Path) -> subprocess.Popen:
    """A prepare of hours, that no delay of who watches it lets end."""
    source = config.PhantomSource(kind="phantom", phantom="chest_xray", count=300_000)
    settings = PREPARE.model_copy(update={"source": source, "size": (128, 128)})
    path = settings_file(out.parents[1], settings)
    command = [sys.executable, "-m", "medsynth", "prepare", "--settings", str(path)]
    command += ["--threads", "2", "--out", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture
def started_prepare(tmp_path: Path):
    """A long prepare with two workers, when its workers work; all of it is ended afterwards."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds processes by /proc: needs Linux")
    process = prepare_process(tmp_path / "prepare/d")
    while not any(path.stat().st_size for path in tmp_path.glob("prepare/.d.*.part/images.raw")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    yield process
    for number in alive(process.pid):
        os.kill(number, signal.SIGKILL)
    process.wait()


def test_no_worker_outlives_a_killed_prepare(fault, started_prepare, tmp_path: Path) -> None:
    assert len(alive(started_prepare.pid)) >= 3
    started_prepare.kill()
    fault("SIGKILL of prepare with workers")
    started_prepare.wait()
    wait_until_gone(started_prepare.pid)
    assert not (tmp_path / "prepare/d").exists()


def test_a_killed_worker_of_prepare_is_one_line(fault, started_prepare, tmp_path: Path) -> None:
    workers = []
    for number in alive(started_prepare.pid):  # the workers are children of the fork server, one deeper
        parent = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        if parent not in (started_prepare.pid, os.getpid()):
            workers.append(number)
    os.kill(workers[0], signal.SIGKILL)
    fault("SIGKILL of a worker of prepare")
    _, message = started_prepare.communicate()
    assert started_prepare.returncode == 1
    assert "a worker process was killed" in message.splitlines()[-1] and "Traceback" not in message
    assert not list((tmp_path / "prepare").iterdir())
