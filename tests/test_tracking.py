"""Runs in MLflow: logged once, read back as written, and a broken tracking place is one clear line."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from medsynth.config import Tracking
from medsynth.errors import InputError
from medsynth.tracking import flatten, initialise, log_run

HISTORY = "step,images_seen,seconds,loss,val_loss\n10,320,1.5,0.9,\n20,640,3.0,0.7,0.8\n"
FIGURES = ("contact_sheet.png", "curves.png", "adherence.png", "nearest.png")
METRICS = "metric,value,ci_low,ci_high,floor,group\nkid,2.5,2.25,2.75,-0.5,\nrecall (k=5),0.5,,,,normal\n"


def make_results(folder: Path, model: str = "diffusion") -> dict[str, Path]:
    train, evaluation, release = (folder / step / "toy" / model for step in ("train", "evaluate", "release"))
    for path in (train, evaluation, release):
        path.mkdir(parents=True)
    (train / "model.json").write_text(json.dumps({"settings": {"seed": 1, "model": {"channels": [8, 16]}}}))
    (train / "history.csv").write_text(HISTORY)
    (evaluation / "metrics.csv").write_text(METRICS)
    for name in FIGURES:
        (evaluation / name).write_bytes(b"\x89PNG")
    (release / "generator.json").write_text(json.dumps({"sampler": {"steps": 7}}))
    (release / "README.md").write_text("# card\n")
    (release / "SHA256SUMS").write_text("")
    return {"train": train, "evaluation": evaluation, "release": release}


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    """A database with its tables, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    initialise(Tracking(uri=f"sqlite:///{folder}/mlflow.db"), folder / "tracking.json")
    return folder / "mlflow.db"


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch, empty_database: Path) -> Path:
    folder = tmp_path / "a folder #1"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    return folder


def runs(database: Path, experiment: str) -> list:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else client.search_runs([found.experiment_id])


def test_relative_database_and_artifacts_lie_in_the_working_directory(workdir: Path) -> None:
    from mlflow import MlflowClient

    settings = Tracking(experiment="here")
    results = make_results(workdir)
    log_run(settings, **results, out=workdir / "log.json")
    [run] = runs(workdir / "mlflow.db", "here")
    stored = [path.name for path in (workdir / "mlartifacts").rglob("*") if path.is_file()]
    assert sorted(stored) == sorted(
        ["model.json", "generator.json", "metrics.csv", "README.md", "SHA256SUMS", *FIGURES]
    )
    record = json.loads((workdir / "log.json").read_text())
    assert record["run_id"] == run.info.run_id
    assert record["tracking_uri"] == f"sqlite:///{workdir}/mlflow.db"
    card = MlflowClient(tracking_uri=record["tracking_uri"]).download_artifacts(run.info.run_id, "README.md")
    assert Path(card).read_text() == "# card\n"


def test_params_metrics_and_curves_read_back(workdir: Path) -> None:
    from mlflow import MlflowClient

    log_run(Tracking(experiment="values"), **make_results(workdir), out=workdir / "log.json")
    [run] = runs(workdir / "mlflow.db", "values")
    params = {"settings.seed": "1", "settings.model.channels": "[8, 16]", "sampler.steps": "7"}
    assert run.data.params == params
    assert run.data.metrics["kid"] == 2.5 and run.data.metrics["kid.floor"] == -0.5
    assert run.data.metrics["recall _k_5_/normal"] == 0.5
    assert "recall _k_5_/normal.ci_low" not in run.data.metrics
    assert run.data.tags["dataset"] == "toy" and run.data.tags["model"] == "diffusion"
    client = MlflowClient(tracking_uri=f"sqlite:///{workdir}/mlflow.db")
    loss = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in loss] == [(10, 0.9), (20, 0.7)]
    assert loss[1].timestamp - loss[0].timestamp == 1500
    assert [point.value for point in client.get_metric_history(run.info.run_id, "train/val_loss")] == [0.8]


def test_repeating_finds_the_run_and_new_results_make_another(workdir: Path) -> None:
    settings, results = Tracking(experiment="again"), make_results(workdir)
    records = []
    for name in ("one.json", "two.json"):
        log_run(settings, **results, out=workdir / name)
        records.append((workdir / name).read_text())
    assert records[0] == records[1]
    assert len(runs(workdir / "mlflow.db", "again")) == 1
    (results["evaluation"] / "metrics.csv").write_text(METRICS.replace("2.5,", "2.4,"))
    log_run(settings, **results, out=workdir / "three.json")
    assert sorted(run.data.metrics["kid"] for run in runs(workdir / "mlflow.db", "again")) == [2.4, 2.5]


def test_run_that_broke_off_is_logged_anew(workdir: Path, monkeypatch) -> None:
    from mlflow import MlflowClient

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    settings, results = Tracking(experiment="broken"), make_results(workdir)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", fail)
        with pytest.raises(InputError, match="No space left on device"):
            log_run(settings, **results, out=workdir / "log.json")
    assert not (workdir / "log.json").exists()
    log_run(settings, **results, out=workdir / "log.json")
    assert [run.info.status for run in runs(workdir / "mlflow.db", "broken")] == ["FINISHED"]


def test_eight_writers_at_once(workdir: Path) -> None:
    import mlflow  # noqa: F401 - once, for all that are forked below

    results = [make_results(workdir, f"model_{i}") for i in range(8)]
    writers = [
        multiprocessing.get_context("fork").Process(
            target=log_run, args=(Tracking(experiment="many"), *paths.values(), workdir / "log" / f"{i}.json")
        )
        for i, paths in enumerate(results)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert len({run.data.tags["model"] for run in runs(workdir / "mlflow.db", "many")}) == 8


def test_unreachable_server_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    with socket.socket() as held:  # bound and not listening: every connection is refused
        held.bind(("127.0.0.1", 0))
        settings = Tracking(uri=f"http://name:${{PASSWORD}}@127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(InputError, match=r"tracking.uri http://\*\*\*@127.0.0.1:\d+: ") as caught:
            initialise(settings, tmp_path / "tracking.json")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "tracking.json").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be written"), (b"a text file, no database", "is not an SQLite database")]
)
def test_unusable_database_is_refused_at_once(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mlflow.db"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        initialise(Tracking(uri=f"sqlite:///{path}"), tmp_path / "tracking.json")


def test_deleted_experiment_is_named(workdir: Path) -> None:
    from mlflow import MlflowClient

    settings = Tracking(experiment="gone")
    initialise(settings, workdir / "tracking.json")
    client = MlflowClient(tracking_uri=f"sqlite:///{workdir}/mlflow.db")
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(InputError, match="'gone' is deleted"):
        initialise(settings, workdir / "tracking.json")


def test_missing_result_file_is_named(workdir: Path) -> None:
    results = make_results(workdir)
    (results["evaluation"] / "curves.png").unlink()
    with pytest.raises(InputError, match=r"curves\.png cannot be read"):
        log_run(Tracking(), **results, out=workdir / "log.json")


def test_telemetry_is_off(workdir: Path) -> None:
    initialise(Tracking(), workdir / "tracking.json")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "true"


def test_importing_the_module_does_not_import_mlflow() -> None:
    program = "import sys, medsynth.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_flatten_names_nested_keys() -> None:
    assert flatten({"a": {"b": [1, 2], "c": "x"}, "d": None}) == {"a.b": "[1, 2]", "a.c": "x", "d": "null"}
