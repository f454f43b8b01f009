"""Runs in MLflow: logged once, read back as written, below the run of the workflow."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medsynth.config import Tracking
from medsynth.errors import InputError
from medsynth.track.results import flatten
from medsynth.track.track import initialise, log_run
from tests.track.toys import (
    DATA_SHA256,
    FIGURES,
    METRICS,
    WEIGHTS_SHA256,
    client_of,
    log,
    make_results,
    runs,
    track_settings,
)


def test_relative_database_and_artifacts_lie_in_the_working_directory(workdir: Path) -> None:
    record = log(Tracking(experiment="here"), make_results(workdir), workdir / "log.json")
    [run] = runs(workdir, "here")
    folder = workdir / "mlartifacts" / run.info.run_id / "artifacts"
    stored = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    model, release = {"model/model.json", "model/model.safetensors"}, {"generator.json", "README.md", "SHA256SUMS"}
    release |= {"gates.csv"}
    tune = {"tune/sampler.json", "tune/tried.csv", "tune/tried.png"}
    assert stored == {*model, *tune, *release, "metrics.csv", "strip.png", *FIGURES}
    assert record["run_id"] == run.info.run_id
    gates = {name: value for name, value in run.data.tags.items() if name.startswith("gate.")}
    of_gates = {"gate.integrity": "pass", "gate.fidelity": "insufficient", "gate.diversity": "fail, waived"}
    assert gates == of_gates
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


def test_what_further_steps_measured_is_logged_beside_and_makes_another_run(workdir: Path) -> None:
    tracking, results = Tracking(experiment="further"), make_results(workdir)
    log(tracking, results, workdir / "one.json")
    table = workdir / "gain.csv"
    table.write_text(METRICS.splitlines()[0] + "\nutility_auroc_gain,0.02,-0.01,0.05,,all\n")
    again = log(tracking, results | {"measured": [table]}, workdir / "two.json")
    found = {run.info.run_id: run.data.metrics for run in runs(workdir, "further")}
    assert len(found) == 2 and found[again["run_id"]]["utility_auroc_gain/all"] == 0.02
    assert "kid" in found[again["run_id"]]


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


def test_telemetry_is_off(workdir: Path) -> None:
    initialise(track_settings(Tracking()), workdir / "initialised.json")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "true"


def test_importing_the_module_does_not_import_mlflow() -> None:
    program = "import sys, medsynth.track.track; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_flatten_names_nested_keys() -> None:
    assert flatten({"a": {"b": [1, 2], "c": "x"}, "d": None}) == {"a.b": "[1, 2]", "a.c": "x", "d": "null"}
