"""Many writers at once, and a tracking place or a result that cannot be used: one clear line."""

import fcntl
import multiprocessing
import socket
from pathlib import Path

import pytest

from medsynth.config import Tracking
from medsynth.errors import InputError
from medsynth.track.connection import connected, place_of
from medsynth.track.track import initialise
from tests.track.toys import client_of, log, log_when_all_are_ready, make_results, runs, track_settings


def test_eight_writers_at_once(workdir: Path) -> None:
    import mlflow  # noqa: F401 - once, for all that are forked below

    tracking = Tracking(experiment="many")
    initialise(track_settings(tracking), workdir / "initialised.json")
    results = [make_results(workdir, f"model_{i}") for i in range(8)]
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(8)
    writers = [
        context.Process(
            target=log_when_all_are_ready,
            args=(barrier, tracking, workdir / "initialised.json", *paths.values(), workdir / "log" / f"{i}.json"),
        )
        for i, paths in enumerate(results)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    [parent] = runs(workdir, "many", parents=True)
    children = runs(workdir, "many")
    assert len(children) == len({run.data.tags["model"] for run in children}) == 8
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert len(client_of(workdir).search_registered_models()) == 8


def test_one_writer_at_a_time_holds_a_database(workdir: Path) -> None:
    place = place_of(Tracking())
    with (workdir / "mlflow.db.lock").open("ab") as other:
        with connected(place), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_unreachable_server_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    with socket.socket() as held:  # bound and not listening: every connection is refused
        held.bind(("127.0.0.1", 0))
        settings = Tracking(uri=f"http://name:${{PASSWORD}}@127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(InputError, match=r"tracking.uri http://\*\*\*@127.0.0.1:\d+: ") as caught:
            initialise(track_settings(settings), tmp_path / "initialised.json")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "initialised.json").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be written"), (b"a text file, no database", "is not an SQLite database")]
)
def test_unusable_database_is_refused_at_once(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mlflow.db"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        initialise(track_settings(Tracking(uri=f"sqlite:///{path}")), tmp_path / "initialised.json")


def test_deleted_experiment_is_named(workdir: Path) -> None:
    settings = track_settings(Tracking(experiment="gone"))
    initialise(settings, workdir / "initialised.json")
    client = client_of(workdir)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(InputError, match="'gone' is deleted"):
        initialise(settings, workdir / "initialised.json")


@pytest.mark.parametrize(
    ("step", "name"),
    [("evaluation", "curves.png"), ("train", "model.json"), ("release", "metadata.csv"), ("store", "samples.csv")],
)
def test_missing_result_file_is_named(workdir: Path, step: str, name: str) -> None:
    results = make_results(workdir)
    (results[step] / name).unlink()
    with pytest.raises(InputError, match=rf"{name}:? cannot be read"):
        log(Tracking(), results, workdir / "log.json")


@pytest.mark.parametrize(
    ("step", "name", "content"),
    [("train", "model.json", "{"), ("train", "model.json", "{}"), ("release", "metadata.csv", "a,b\n1,2\n")],
)
def test_damaged_result_file_is_named(workdir: Path, step: str, name: str, content: str) -> None:
    results = make_results(workdir)
    (results[step] / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}:? (is )?damaged"):
        log(Tracking(), results, workdir / "log.json")
