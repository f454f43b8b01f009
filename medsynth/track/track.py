"""Result files → MLflow: a run for each dataset and model below one run for the workflow, each made once.

However often the step is repeated, the same results are the same run. Tracking comes last and reads files alone, so
that an outage of MLflow costs no trained model. MLflow is imported where it is used: it takes seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth.config import Tracking, TrackSettings
from medsynth.config.addresses import Address
from medsynth.disk.files import write_text
from medsynth.errors import InputError
from medsynth.track.connection import connected, place_of, sqlite_path
from medsynth.track.results import MODEL_FOLDER, Data, Results, read_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

RUN_KEY = "medsynth.run_key"
PARENT = "mlflow.parentRunId"
NAME = "mlflow.runName"
BATCH = {"metrics": 1000, "params": 100}  # the most that MLflow takes in one request
NAME_LENGTH = 250  # the most that MLflow's database has room for
DIGEST_LENGTH = 36  # the same for a dataset; tags hold digests whole


def initialise(settings: TrackSettings, out: Path) -> None:
    """Create the database, the experiment and the run that stands for the workflow, and write their names to `out`.

    Done once before any results are logged: several writers that create one SQLite database at a time break it, and
    would each make a run of their own for the workflow. That one holds no results, and is finished when it is made.
    The digest of the configuration is its key: another configuration has another run.

    Raises:
        InputError: the tracking database or server cannot be used.
    """
    place, key = place_of(settings.tracking), settings.configuration_sha256
    with connected(place) as client:
        experiment_id = experiment_of(client, place, settings.tracking.experiment)
        run_id = _finished(client, experiment_id, key)
        if run_id is None:
            name = f"{', '.join(settings.datasets)[: NAME_LENGTH - 9]} {key[:8]}"
            now_ms = int(time.time() * 1000)
            run_id = client.create_run(experiment_id, now_ms, {RUN_KEY: key, NAME: name}).info.run_id
            _finish(client, experiment_id, run_id, key, now_ms)
    _write_json(out, {"tracking_uri": str(place), "experiment_id": experiment_id, "run_id": run_id})


def log_run(
    settings: Tracking,
    initialised: Path,
    store: Path,
    train: Path,
    tune: Path,
    evaluation: Path,
    release: Path,
    out: Path,
    measured: Sequence[Path] = (),
) -> None:
    """Log one dataset and model, named by the last two folders of `train`, and write the run's id to `out`.

    The digest of everything that is read is the run's key: the same results are found again by it, never logged twice.
    They then move below the run of the workflow that has them now. A model is registered if images of it were released.

    Args:
        initialised: the file that `initialise` wrote.
        measured: tables of further steps in the columns of metrics.csv.
    Raises:
        InputError: the tracking database or server cannot be used, or a result file cannot be read.
    """
    results = Results.read(store, train, tune, evaluation, release, settings.register_models, measured)
    place = place_of(settings)
    with connected(place) as client:
        parent = _parent(client, place, initialised)
        run_id = _finished(client, parent.info.experiment_id, results.key)
        if run_id is None:
            run_id = _log(client, parent, results)
        else:
            client.set_tag(run_id, PARENT, parent.info.run_id)
        version = _registered(client, run_id, results)
    record = {"run_id": run_id, "run_key": results.key, "parent_run_id": parent.info.run_id, "model_version": version}
    _write_json(out, {"tracking_uri": str(place)} | record)


def _parent(client: MlflowClient, place: Address, initialised: Path) -> Run:
    """The run that `initialise` made."""
    from mlflow.exceptions import MlflowException

    made = read_json(initialised, "tracking_uri", "run_id")
    try:
        run = client.get_run(made["run_id"]) if made["tracking_uri"] == str(place) else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        run = None
    if run is None or run.info.lifecycle_stage == "deleted":
        raise InputError(f"track: the run in {initialised} is not in {place}; remove that file and make it again")
    return run


def experiment_of(client: MlflowClient, place: Address, name: str) -> str:
    """The experiment's id; made when it is not there, beside an SQLite database with its artifacts in mlartifacts/."""
    from mlflow.exceptions import MlflowException

    database = sqlite_path(place)
    artifacts = (database.parent / "mlartifacts").as_uri() if database is not None else None
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=artifacts)
        except MlflowException:  # another writer was first, or there is a real problem that shows again
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise InputError(f"tracking.experiment {name!r} is deleted: restore it or choose another name")
    return found.experiment_id


def _finished(client: MlflowClient, experiment_id: str, key: str) -> str | None:
    """Find the finished run of this key. An unfinished one is deleted, so that it is logged again as a whole."""
    finished = None
    for run in client.search_runs([experiment_id], filter_string=f"tags.`{RUN_KEY}` = '{key}'"):
        if run.info.status == "FINISHED":
            finished = run.info.run_id
        else:
            client.delete_run(run.info.run_id)
    return finished


def _finish(client: MlflowClient, experiment_id: str, run_id: str, key: str, end_ms: int) -> None:
    client.set_terminated(run_id, "FINISHED", end_time=end_ms)
    _finished(client, experiment_id, key)  # a request whose answer was lost is sent twice and makes two runs


def _log(client: MlflowClient, parent: Run, results: Results) -> str:
    """Make the run of these results and return its id."""
    from mlflow.entities import Metric, Param

    tags = {"dataset": results.dataset, "model": results.model, NAME: f"{results.dataset}/{results.model}"}
    tags |= {f"{data.context}_sha256": data.sha256 for data in results.data}
    tags |= {f"gate.{name}": found for name, found in results.gates.items()}
    tags |= {RUN_KEY: results.key, PARENT: parent.info.run_id}
    experiment_id = parent.info.experiment_id
    run_id = client.create_run(experiment_id, results.start_ms, tags).info.run_id
    points = [Metric(name, value, at_ms, step) for name, value, at_ms, step in results.metrics]
    for start in range(0, len(points), BATCH["metrics"]):
        client.log_batch(run_id, metrics=points[start : start + BATCH["metrics"]])
    texts = [Param(name, value) for name, value in results.params.items()]
    for start in range(0, len(texts), BATCH["params"]):
        client.log_batch(run_id, params=texts[start : start + BATCH["params"]])
    _log_inputs(client, run_id, results)
    for path, folder in results.artifacts.items():
        client.log_artifact(run_id, str(path), folder)
    _finish(client, experiment_id, run_id, results.key, results.end_ms)
    return run_id


def _log_inputs(client: MlflowClient, run_id: str, results: Results) -> None:
    from mlflow.exceptions import MlflowException

    inputs = [_input(data) for data in results.data]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        # Another writer made the same dataset at the same moment, or there is a real problem that shows again.
        client.log_inputs(run_id, inputs)


def _input(data: Data) -> DatasetInput:
    """A dataset as MLflow shows it. What was released is one of a run's inputs too: MLflow knows no other kind."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"name": name, "type": kind, "required": False} for name, kind in data.columns.items()]
    dataset = Dataset(
        name=data.name,
        digest=data.sha256[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(data.source)}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(data.profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])


def _registered(client: MlflowClient, run_id: str, results: Results) -> str | None:
    """Register the model unless it is registered already; name/version."""
    from mlflow.exceptions import MlflowException

    name = results.registered_as
    if name is None:
        return None
    versions = _versions(client, run_id, name)
    if not versions:
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
        tags = {RUN_KEY: results.key, **{score: f"{value:.6g}" for score, value in results.scores.items()}}
        client.create_model_version(name, source, run_id, tags, await_creation_for=0)
        versions = _versions(client, run_id, name)
    first, *others = versions
    for other in others:  # a request whose answer was lost is sent twice and makes two versions
        client.delete_model_version(name, str(other))
    return f"{name}/{first}"


def _versions(client: MlflowClient, run_id: str, name: str) -> list[int]:
    """The versions that were registered here, the oldest first: a user may have registered the run elsewhere too."""
    found = client.search_model_versions(f"run_id = '{run_id}'")
    return sorted(int(version.version) for version in found if version.name == name and RUN_KEY in version.tags)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n")
