"""Runs in MLflow: logged once, read back as written, and a broken tracking place is one clear line."""

import hashlib
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from medsynth.config import Tracking, TrackSettings
from medsynth.errors import InputError
from medsynth.track.results import flatten
from medsynth.track.track import initialise, log_run

HISTORY = "step,images_seen,seconds,loss,val_loss\n10,320,1.5,0.9,\n20,640,3.0,0.7,0.8\n"
FIGURES = ("contact_sheet.png", "curves.png", "adherence.png", "nearest.png")
METRICS = (
    "metric,value,ci_low,ci_high,floor,group\n"
    "kid,2.5,2.25,2.75,-0.5,\nrecall (k=5),0.5,,,,normal\naccuracy,0.75,,,,pathology=normal\n"
)
WEIGHTS = b"weights"
WEIGHTS_SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
DATA_SHA256 = "d1" * 32
CONDITIONS = {
    "pathology": {"kind": "categorical", "values": ["normal", "nodule"]},
    "age": {"kind": "number", "range": [0, 100]},
    "lesion": {"kind": "lesions"},
}
STORE = {"digest": DATA_SHA256, "rows_out": 40, "modality": "ct", "size": [8, 8], "conditions": CONDITIONS}
INFO = {"settings": {"seed": 1, "model": {"channels": [8, 16]}}, "weights_sha256": WEIGHTS_SHA256, "store": STORE}
RELEASED = "file_name,pathology,predicted_age,lesion_x,generator_sha256\n"


def make_results(folder: Path, model: str = "diffusion", kept: int = 3) -> dict[str, Path]:
    train, evaluation, release = (folder / step / "toy" / model for step in ("train", "evaluate", "release"))
    store = folder / "prepare/toy"
    for path in (train, evaluation, release, store):
        path.mkdir(parents=True, exist_ok=True)
    (store / "samples.csv").write_text("subject_id,pathology,age,lesion_x\n1,normal,50,0.5\n")
    (train / "model.safetensors").write_bytes(WEIGHTS)
    (train / "model.json").write_text(json.dumps(INFO))
    (train / "history.csv").write_text(HISTORY)
    (evaluation / "metrics.csv").write_text(METRICS)
    for name in FIGURES:
        (evaluation / name).write_bytes(b"\x89PNG")
    (release / "generator.json").write_text(json.dumps({"sampler": {"steps": 7}}))
    (release / "README.md").write_text("# card\n")
    (release / "metadata.csv").write_text(RELEASED + f"images/1.png,normal,50,n/a,{WEIGHTS_SHA256}\n" * kept)
    (release / "SHA256SUMS").write_text(f"{kept} images of {model}\n")
    return {"store": store, "train": train, "evaluation": evaluation, "release": release}


def track_settings(tracking: Tracking, configuration: str = "c0ffee") -> TrackSettings:
    return TrackSettings(tracking=tracking, datasets=("toy",), configuration_sha256=configuration)


def log(tracking: Tracking, results: dict[str, Path], out: Path, configuration: str = "c0ffee") -> dict:
    """What the two rules do; returns the record of the run."""
    initialise(track_settings(tracking, configuration), out.with_name("initialised.json"))
    log_run(tracking, out.with_name("initialised.json"), **results, out=out)
    return json.loads(out.read_text())


def log_when_all_are_ready(barrier, *arguments) -> None:
    barrier.wait()
    log_run(*arguments)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    """A database with its tables, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    initialise(track_settings(Tracking(uri=f"sqlite:///{folder}/mlflow.db")), folder / "initialised.json")
    return folder / "mlflow.db"


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch, empty_database: Path) -> Path:
    folder = tmp_path / "a folder #1"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    return folder


def client_of(folder: Path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def runs(folder: Path, experiment: str, parents: bool = False) -> list:
    """The runs of datasets and models, or those of whole workflows."""
    client = client_of(folder)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [run for run in found if ("dataset" not in run.data.tags) == parents]


def test_relative_database_and_artifacts_lie_in_the_working_directory(workdir: Path) -> None:
    record = log(Tracking(experiment="here"), make_results(workdir), workdir / "log.json")
    [run] = runs(workdir, "here")
    folder = workdir / "mlartifacts" / run.info.run_id / "artifacts"
    stored = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    model, release = {"model/model.json", "model/model.safetensors"}, {"generator.json", "README.md", "SHA256SUMS"}
    assert stored == {*model, *release, "metrics.csv", *FIGURES}
    assert record["run_id"] == run.info.run_id
    assert record["tracking_uri"] == f"sqlite:///{workdir}/mlflow.db"
    card = client_of(workdir).download_artifacts(run.info.run_id, "README.md")
    assert Path(card).read_text() == "# card\n"


def test_a_linked_training_goes_by_the_name_of_the_link(workdir: Path) -> None:
    results = make_results(workdir)
    (workdir / "elsewhere").mkdir()
    results["train"].rename(workdir / "elsewhere/run_17")
    results["train"].symlink_to(workdir / "elsewhere/run_17")
    log(Tracking(experiment="link"), results | {"train": Path("train/toy/../toy/diffusion")}, workdir / "log.json")
    [run] = runs(workdir, "link")
    assert (run.data.tags["dataset"], run.data.tags["model"]) == ("toy", "diffusion")


def test_params_metrics_and_curves_read_back(workdir: Path) -> None:
    log(Tracking(experiment="values"), make_results(workdir), workdir / "log.json")
    [run] = runs(workdir, "values")
    params = {"settings.seed": "1", "settings.model.channels": "[8, 16]", "sampler.steps": "7"}
    assert {name: value for name, value in run.data.params.items() if not name.startswith("store.")} == params | {
        "weights_sha256": WEIGHTS_SHA256
    }
    assert run.data.params["store.conditions.age.kind"] == "number"
    assert run.data.metrics["kid"] == 2.5 and run.data.metrics["kid.floor"] == -0.5
    assert run.data.metrics["recall _k_5_/normal"] == 0.5
    assert "recall _k_5_/normal.ci_low" not in run.data.metrics
    assert run.data.tags["dataset"] == "toy" and run.data.tags["model"] == "diffusion"
    client = client_of(workdir)
    loss = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in loss] == [(10, 0.9), (20, 0.7)]
    assert loss[1].timestamp - loss[0].timestamp == 1500
    assert [point.value for point in client.get_metric_history(run.info.run_id, "train/val_loss")] == [0.8]


def test_datasets_are_inputs_with_their_digests_and_columns(workdir: Path) -> None:
    from mlflow.types import Schema

    results = make_results(workdir)
    log(Tracking(experiment="data"), results, workdir / "log.json")
    [run] = runs(workdir, "data")
    found = {given.tags[0].value: given.dataset for given in run.inputs.dataset_inputs}
    assert set(found) == {"training", "release"}
    learned, made = found["training"], found["release"]
    release_sha256 = hashlib.sha256((results["release"] / "SHA256SUMS").read_bytes()).hexdigest()
    assert (learned.name, learned.digest) == ("toy", DATA_SHA256[:36])
    assert (made.name, made.digest) == ("toy-diffusion", release_sha256[:36])
    assert run.data.tags["training_sha256"] == DATA_SHA256 and run.data.tags["release_sha256"] == release_sha256
    assert json.loads(made.source) == {"uri": str(results["release"])} and made.source_type == "local"
    assert json.loads(learned.profile) == {"num_rows": 40, "modality": "ct", "size": [8, 8]}
    assert json.loads(made.profile) == {"num_rows": 3}
    columns = {
        context: {
            column.name: column.type.name
            for column in Schema.from_json(json.dumps(json.loads(dataset.schema)["mlflow_colspec"]))
        }
        for context, dataset in found.items()
    }
    text, number = "string", "double"
    assert columns["training"] == {"subject_id": text, "pathology": text, "age": number, "lesion_x": number}
    assert columns["release"] == dict(
        file_name=text, pathology=text, predicted_age=number, lesion_x=number, generator_sha256=text
    )


def test_repeating_finds_the_run_and_new_results_make_another(workdir: Path) -> None:
    tracking, results = Tracking(experiment="again"), make_results(workdir)
    first = log(tracking, results, workdir / "one.json")
    assert log(tracking, results, workdir / "two.json") == first
    assert len(runs(workdir, "again")) == len(runs(workdir, "again", parents=True)) == 1
    (results["evaluation"] / "metrics.csv").write_text(METRICS.replace("2.5,", "2.4,"))
    log(tracking, results, workdir / "three.json")
    assert sorted(run.data.metrics["kid"] for run in runs(workdir, "again")) == [2.4, 2.5]


def test_run_that_broke_off_is_logged_anew(workdir: Path, monkeypatch) -> None:
    from mlflow import MlflowClient

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    tracking, results = Tracking(experiment="broken"), make_results(workdir)
    for call in ("log_artifact", "create_model_version"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, call, fail)
            with pytest.raises(InputError, match="No space left on device"):
                log(tracking, results, workdir / "log.json")
        assert not (workdir / "log.json").exists()
    record = log(tracking, results, workdir / "log.json")
    [run] = runs(workdir, "broken")
    assert run.info.status == "FINISHED"
    [version] = client_of(workdir).search_model_versions(f"run_id = '{run.info.run_id}'")
    assert record["model_version"] == f"toy-diffusion/{version.version}"


def test_dataset_that_another_writer_makes_meanwhile_is_taken(workdir: Path, monkeypatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST

    log_inputs, answers = MlflowClient.log_inputs, [True, True, False, True]

    def fail_sometimes(*arguments) -> None:
        if answers.pop():
            raise MlflowException("UNIQUE constraint failed: datasets.name", BAD_REQUEST)
        log_inputs(*arguments)

    monkeypatch.setattr(MlflowClient, "log_inputs", fail_sometimes)
    log(Tracking(experiment="race"), make_results(workdir), workdir / "log.json")
    [run] = runs(workdir, "race")
    assert len(run.inputs.dataset_inputs) == 2
    with pytest.raises(InputError, match="UNIQUE constraint failed"):
        log(Tracking(experiment="race"), make_results(workdir, "other"), workdir / "log.json")
    assert answers == []


# --- the run of the workflow ------------------------------------------------------------------------------------


def test_runs_stand_below_the_run_of_the_workflow_that_has_them_now(workdir: Path) -> None:
    tracking, results = Tracking(experiment="family"), make_results(workdir)
    first = log(tracking, results, workdir / "log.json", configuration="a" * 64)
    other = log(tracking, results, workdir / "log.json", configuration="b" * 64)
    assert other["run_id"] == first["run_id"] and other["parent_run_id"] != first["parent_run_id"]
    [run] = runs(workdir, "family")
    assert run.data.tags["mlflow.parentRunId"] == other["parent_run_id"]
    assert log(tracking, results, workdir / "log.json", configuration="a" * 64) == first
    parents = {run.info.run_id: run for run in runs(workdir, "family", parents=True)}
    assert set(parents) == {first["parent_run_id"], other["parent_run_id"]}
    assert {run.info.status for run in parents.values()} == {"FINISHED"}
    assert parents[first["parent_run_id"]].info.run_name == "toy aaaaaaaa"


def test_workflow_whose_run_is_gone_says_what_to_do(workdir: Path) -> None:
    tracking, results = Tracking(experiment="orphan"), make_results(workdir)
    record = log(tracking, results, workdir / "log.json")
    client_of(workdir).delete_run(record["parent_run_id"])
    with pytest.raises(InputError, match=r"initialised\.json is not in sqlite:///.*; remove that file"):
        log_run(tracking, workdir / "initialised.json", **results, out=workdir / "again.json")
    (workdir / "initialised.json").write_text("{")
    with pytest.raises(InputError, match=r"initialised\.json is damaged .*; remove it"):
        log_run(tracking, workdir / "initialised.json", **results, out=workdir / "again.json")
    assert not (workdir / "again.json").exists()
    assert log(tracking, results, workdir / "again.json")["run_id"] == record["run_id"]


# --- registered models ------------------------------------------------------------------------------------------


def test_released_model_is_registered_once_with_its_weights_and_scores(workdir: Path, monkeypatch) -> None:
    import mlflow

    tracking, results = Tracking(experiment="registry"), make_results(workdir, "registered")
    record = log(tracking, results, workdir / "log.json")
    assert record["model_version"] == "toy-registered/1"
    (workdir / "log.json").unlink()
    client = client_of(workdir)
    client.create_registered_model("chosen")  # a user may register the same run too, and keeps that
    client.create_model_version("chosen", client.get_run(record["run_id"]).info.artifact_uri, record["run_id"])
    assert log(tracking, results, workdir / "log.json") == record
    assert len(client.search_model_versions("name = 'chosen'")) == 1
    [version] = client_of(workdir).search_model_versions("name = 'toy-registered'")
    assert version.run_id == record["run_id"] and version.status == "READY"
    assert version.tags == {"medsynth.run_key": record["run_key"], "kid": "2.5", "recall _k_5_/normal": "0.5"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", record["tracking_uri"])
    folder = Path(mlflow.artifacts.download_artifacts("models:/toy-registered/1", dst_path=str(workdir / "got")))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert json.loads((folder / "model.json").read_text()) == INFO
    (results["evaluation"] / "metrics.csv").write_text(METRICS.replace("2.5,", "2.4,"))
    assert log(tracking, results, workdir / "log.json")["model_version"] == "toy-registered/2"


@pytest.mark.parametrize(("kept", "wanted"), [(0, True), (3, False)], ids=["nothing released", "not wanted"])
def test_model_is_not_registered(workdir: Path, kept: int, wanted: bool) -> None:
    tracking = Tracking(experiment=f"private {kept}", register_models=wanted)
    record = log(tracking, make_results(workdir, "private", kept), workdir / "log.json")
    assert record["model_version"] is None
    assert client_of(workdir).search_registered_models() == []
    assert [path.name for path in workdir.glob("mlartifacts/**/model/*")] == ["model.json"]
    [run] = runs(workdir, f"private {kept}")
    assert len(run.inputs.dataset_inputs) == (2 if kept else 1)


def test_model_that_is_registered_later_is_logged_with_its_weights(workdir: Path) -> None:
    results = make_results(workdir, "late")
    log(Tracking(experiment="late", register_models=False), results, workdir / "log.json")
    record = log(Tracking(experiment="late"), results, workdir / "log.json")
    assert record["model_version"] == "toy-late/1"
    assert (workdir / "mlartifacts" / record["run_id"] / "artifacts/model/model.safetensors").is_file()


@pytest.mark.parametrize("of", ["weights", "release"])
def test_release_that_is_not_by_the_weights_is_refused(workdir: Path, of: str) -> None:
    results = make_results(workdir)
    if of == "weights":
        (results["train"] / "model.safetensors").write_bytes(b"others")
    else:
        (results["release"] / "metadata.csv").write_text(RELEASED + f"images/1.png,normal,50,n/a,{'0' * 64}\n")
    with pytest.raises(InputError, match=f"of the weights .{{12}}…, model.json of {WEIGHTS_SHA256[:12]}"):
        log(Tracking(), results, workdir / "log.json")


# --- many writers, and trouble ----------------------------------------------------------------------------------


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


def test_telemetry_is_off(workdir: Path) -> None:
    initialise(track_settings(Tracking()), workdir / "initialised.json")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "true"


def test_importing_the_module_does_not_import_mlflow() -> None:
    program = "import sys, medsynth.track.track; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_flatten_names_nested_keys() -> None:
    assert flatten({"a": {"b": [1, 2], "c": "x"}, "d": None}) == {"a.b": "[1, 2]", "a.c": "x", "d": "null"}
