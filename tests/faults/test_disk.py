"""A disk that is full: one clear line, and nothing under the name of an output. Also a disk of its own for results."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medsynth.cli import main
from medsynth.disk.files import folder_written_whole, write_text
from tests.conftest import settings_file
from tests.faults.conftest import contents, release_arguments, sample_arguments
from tests.faults.test_kill import PREPARE
from tests.train.test_loop import settings, write_store

SMALL_DISK = """
set -eu
mount -t tmpfs -o size={size},mode=700 full "{disk}"
set +e
"$@"
code=$?
find "{disk}" -type f > "{left}"
exit $code
"""


@pytest.fixture
def on_a_small_disk(tmp_path: Path):
    """Run a step whose output folder is a file system of so many KiB: the process, and the files that it left."""
    trial = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none "$0"', str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("needs unshare (util-linux) and leave to mount a tmpfs in a user namespace of one's own")

    def run(arguments: list, size: int) -> tuple[subprocess.CompletedProcess, list[str]]:
        disk, left = tmp_path / "disk", tmp_path / "left"
        disk.mkdir(exist_ok=True)
        script = SMALL_DISK.format(size=f"{size}k", disk=disk, left=left)
        command = [*trial[:4], "sh", "-c", script, "sh", sys.executable, "-m", "medsynth", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done, left.read_text().splitlines()

    return run


def is_refused(done: subprocess.CompletedProcess, step: str) -> None:
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(f"medsynth {step}: "), done.stderr
    assert "No space left on device" in last or "os error 28" in last
    assert "/disk" in last, "the line does not say where"
    assert "Traceback" not in done.stderr


def test_prepare_on_a_full_disk(fault, on_a_small_disk, tmp_path: Path) -> None:
    out = tmp_path / "disk/prepare/d"
    arguments = ["prepare", "--settings", settings_file(tmp_path, PREPARE), "--out", out]
    for size in (4, 12):
        done, left = on_a_small_disk(arguments, size)
        fault("disk full in prepare")
        is_refused(done, "prepare")
        assert left == []
    done, left = on_a_small_disk(arguments, 1000)
    assert done.returncode == 0 and len(left) == 7


def test_train_on_a_full_disk(fault, on_a_small_disk, store, tmp_path: Path) -> None:
    folder, out = write_store(store, tmp_path / "store"), tmp_path / "disk/train"
    chosen = settings_file(tmp_path, settings(images=16, checkpoint_seconds=1e-9))
    for size in (4, 64):
        done, left = on_a_small_disk(["train", "--settings", chosen, "--store", folder, "--out", out], size)
        fault("disk full in train")
        is_refused(done, "train")
        # What a training goes on from may stay, whole: the images of its strip, and the lines of its live curves.
        names = {Path(path).relative_to(out).as_posix() for path in left}
        assert all(re.fullmatch(r"checkpoints/(strip_\d\.npz|history\.jsonl)", name) for name in names), names


def test_sample_and_release_on_a_full_disk(fault, on_a_small_disk, results, tmp_path: Path) -> None:
    for arguments in (sample_arguments(results), release_arguments(results)):
        arguments[-1] = tmp_path / "disk/out" / Path(arguments[-1]).name
        done, left = on_a_small_disk(arguments, 4)
        fault(f"disk full in {arguments[0]}")
        is_refused(done, str(arguments[0]))
        assert left == []


def test_a_quota_on_files_is_one_line_too(fault, results, tmp_path: Path) -> None:
    """A limit on the size of files stops a write in its middle, on any file system and without leave to mount."""
    script = (
        "import resource, sys; from medsynth.cli import main; import medsynth.train.loop, medsynth.release.release\n"
    )
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); main(sys.argv[1:])"
    before = contents(tmp_path / "results")
    for arguments in (sample_arguments(results), release_arguments(results)):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        fault(f"limit on the size of files in {arguments[0]}")
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and "File too large" in last and "Traceback" not in done.stderr, done.stderr
        assert contents(tmp_path / "results") == before


# --- another file system ----------------------------------------------------------------------------------------


@pytest.fixture
def other_disk(tmp_path: Path):
    """A folder on another file system than the working folder."""
    root = Path("/dev/shm")
    if not os.access(root, os.W_OK) or root.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm, on another file system than the temporary folder")
    folder = Path(tempfile.mkdtemp(prefix="medsynth-test-", dir=root))
    yield folder
    shutil.rmtree(folder)


def test_outputs_replace_what_lies_on_another_disk(fault, other_disk, tmp_path: Path) -> None:
    """The folder itself, one above it, or a file in it may be on another disk: nothing is ever moved between disks."""
    (tmp_path / "results").symlink_to(other_disk)
    for text in ("one", "two"):
        with folder_written_whole(tmp_path / "results/release") as part:
            (part / "a.txt").write_text(text)
        write_text(tmp_path / "results/b.txt", text)
        fault("results on another disk")
        assert contents(other_disk) == {"release/a.txt": text.encode(), "b.txt": text.encode()}
    (other_disk / "far").mkdir()
    (tmp_path / "near").symlink_to(other_disk / "far")
    with folder_written_whole(tmp_path / "near") as part:
        (part / "a.txt").write_text("three")
    fault("output folder linked to another disk")
    assert (tmp_path / "near").is_symlink() and contents(other_disk / "far") == {"a.txt": b"three"}


def test_the_steps_write_the_same_on_another_disk(fault, other_disk, results) -> None:
    here = {}
    for arguments in (sample_arguments(results), release_arguments(results)):
        main([str(argument) for argument in arguments])
        out = Path(arguments[-1])
        here |= {out.name: contents(out) if out.is_dir() else out.read_bytes()}
        there = other_disk / arguments[0] / out.name
        main([str(argument) for argument in [*arguments[:-1], there]])
        fault("results on another disk")
        assert (contents(there) if there.is_dir() else there.read_bytes()) == here[out.name]


# --- leftovers --------------------------------------------------------------------------------------------------


def test_the_parts_of_the_dead_are_removed_and_those_of_the_living_are_not(fault, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    child = os.fork()
    if child == 0:
        with folder_written_whole(tmp_path / "f"), path.open("w"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    fault("SIGKILL of a writer")
    (tmp_path / ".a.0123abcd.part.txt").touch()
    (tmp_path / ".other.0123abcd.part.txt").touch()
    assert len(list(tmp_path.glob(".f.*.part"))) == 1
    with folder_written_whole(tmp_path / "f") as living:
        write_text(path, "first")
        with folder_written_whole(tmp_path / "f") as second:
            (second / "g").touch()
        assert living.exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".other.0123abcd.part.txt", "a.txt", "f"]


def test_a_failed_write_leaves_the_old_file_and_limits_are_set_back(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))
        with pytest.raises(OSError, match=r"File too large: .*a\.txt"):
            write_text(tmp_path / "a.txt", "longer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path) == {"a.txt": b"old"}
