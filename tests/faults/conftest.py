"""What the fault tests share: the count of injected faults, a death at any write, and real results to damage."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from medsynth import config
from medsynth.artifacts.store import Store
from medsynth.cli import main
from medsynth.disk import tables
from medsynth.sample.sample import sample_shard
from medsynth.train.loop import train
from tests.conftest import settings_file
from tests.release.toys import GATES
from tests.sample.conftest import tuned
from tests.train.test_loop import settings as train_settings
from tests.train.test_loop import write_store

WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
PLAN = {
    "request": {"kind": "per_class", "column": "pathology", "counts": {"low": 4, "high": 2}},
    "shards": 2,
}
# As sitecustomize.py: a training raises a signal in itself where a checkpoint is about to take the place of another.
SIGNALLED = """
import signal, sys
left = {checkpoint}
def watch(event, args):
    global left
    if event == "os.rename" and str(args[1]).endswith("checkpoints/last.safetensors"):
        left -= 1
        if left == 0:
            signal.raise_signal({number})
sys.addaudithook(watch)
"""
METRICS = """metric,group,value,ci_low,ci_high,floor,n_real,n_synthetic,higher_is_better,note,extractor
kid,all,2.5,2.2,2.7,0,8,6,False,,efficientnet_lite0
"""


@pytest.fixture
def fault(record_property) -> Callable[[str], None]:
    """Count one injected fault; tests/conftest.py prints the sums."""
    return lambda what: record_property("fault", what)


def writes(event: str, args: tuple) -> bool:
    """Whether an audit event is about to change the disk."""
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in WRITES


def deaths(step: Callable[[], None], reset: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Run a step again and again, killed by SIGKILL before its first change to the disk, its second, and so on.

    Yields after each death, with its number; ends when the step has run through. `reset` is called before each run.
    """
    for number in range(1000):
        reset()
        child = os.fork()
        if child == 0:
            left = number

            def watch(event: str, args: tuple) -> None:
                nonlocal left
                if writes(event, args):
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1

            try:
                sys.addaudithook(watch)
                step()
            except BaseException:
                traceback.print_exc()
                os._exit(3)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        assert code == -signal.SIGKILL, f"the step itself failed with {code}"
        yield number
    raise AssertionError("the step never ended")


def signalled(folder: Path, number: signal.Signals, checkpoint: int) -> str:
    """A PYTHONPATH with which a training raises a signal in itself before it puts a checkpoint in place, from 1.

    The training is then in its middle, however fast it is and whoever waits for it.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SIGNALLED.format(checkpoint=checkpoint, number=int(number)))
    return str(folder)


def alive(session: int) -> set[int]:
    """The processes of a session, by /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def wait_until_gone(session: int) -> None:
    """Wait until no process of a session is alive; the limit is for one that stays for ever."""
    deadline = time.monotonic() + 600
    while left := alive(session):
        assert time.monotonic() < deadline, f"still alive: {left}"
        time.sleep(0.05)


def refused(*arguments: str | Path) -> str:
    """The one line in which `medsynth` refuses."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    message = str(ended.value)
    assert message.startswith(f"medsynth {arguments[0]}: ") and "\n" not in message, message
    return message


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sample_settings() -> config.SampleSettings:
    return config.SampleSettings(seed=0, dataset="d", model="m", plan=PLAN)


@pytest.fixture
def results(store: Store, tmp_path: Path) -> dict[str, Path]:
    """The folder of each step up to evaluate, of a toy run: what `release` reads."""
    folders = {step: tmp_path / "results" / step / "d" / "m" for step in ("train", "sample", "evaluate", "release")}
    folders["store"] = write_store(store, tmp_path / "results/prepare/d")
    opened = Store.open(folders["store"])
    train(train_settings(images=16), opened, folders["train"])
    folders["sampler"] = tuned(folders["train"] / "model.safetensors", tmp_path / "results/tune/d/m/sampler.json")
    for shard in range(2):
        out = folders["sample"] / f"shard_{shard}.npy"
        weights = folders["train"] / "model.safetensors"
        sample_shard(sample_settings(), opened, weights, folders["sampler"], shard, out)
    folders["evaluate"].mkdir(parents=True)
    ids = [f"d-m-{index:06d}" for index in range(6)]
    verdicts = {"sample_id": ids, "predicted_pathology": "low", "nearest_image": "7.png"}
    verdicts |= {"requested_probability": 0.9, "conformity": 0.8, "misread_check": "on", "nearest_similarity": 0.5}
    pd.DataFrame(verdicts | {"verdict": ["kept"] * 5 + ["rejected"], "reason": ""}).to_csv(
        folders["evaluate"] / "samples.csv", index=False
    )
    (folders["evaluate"] / "metrics.csv").write_text(METRICS)
    folders["gates"] = tmp_path / "results/gates/d/m"
    folders["gates"].mkdir(parents=True)
    tables.write(folders["gates"] / "gates.csv", GATES)
    return folders


def release_arguments(results: dict[str, Path]) -> list[str | Path]:
    settings = settings_file(results["store"].parents[2], config.ReleaseSettings(formats=("png",), licence="CC0-1.0"))
    return [
        *("release", "--settings", settings, "--store", results["store"], "--train", results["train"]),
        *("--sampler", results["sampler"], "--samples", results["sample"]),
        *("--evaluation", results["evaluate"], "--gates", results["gates"], "--out", results["release"]),
    ]  # fmt: skip


def sample_arguments(results: dict[str, Path], shard: int = 0) -> list[str | Path]:
    settings = settings_file(results["store"].parents[2], sample_settings())
    return [
        *("sample", "--settings", settings, "--store", results["store"]),
        *("--checkpoint", results["train"] / "model.safetensors", "--sampler", results["sampler"]),
        *("--shard", str(shard)),
        *("--out", results["sample"] / f"shard_{shard}.npy"),
    ]
