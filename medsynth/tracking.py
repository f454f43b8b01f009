"""Result files → MLflow: one run for each dataset and model, made once however often the step is repeated.

Tracking comes last and reads files alone, so that its outage costs no trained model. MLflow is imported where it is
used: it takes seconds.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from medsynth import addresses
from medsynth.addresses import Address
from medsynth.config import Tracking
from medsynth.errors import InputError
from medsynth.files import write_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_KEY = "medsynth.run_key"
BATCH = {"metrics": 1000, "params": 100}  # the most that MLflow takes in one request
# An answer or an error within a minute, and no usage data sent; a setting of the user's own wins over the first two.
DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def initialise(settings: Tracking, out: Path) -> None:
    """Create the database and the experiment, and write their names to `out`.

    Done once before any run is logged: several writers that create one SQLite database at a time break it.

    Raises:
        InputError: the tracking database or server cannot be used.
    """
    place = _place(settings)
    with _client(place) as client:
        experiment_id = _experiment(client, place, settings.experiment)
    _write_json(out, {"tracking_uri": str(place), "experiment_id": experiment_id})


def log_run(settings: Tracking, train: Path, evaluation: Path, release: Path, out: Path) -> None:
    """Log one dataset and model, named by the last two folders of `train`, and write the run's id to `out`.

    The digest of everything that is read is the run's key: the same results are found again by it, never logged twice.

    Raises:
        InputError: the tracking database or server cannot be used, or a result file cannot be read.
    """
    dataset, model = train.resolve().parts[-2:]
    artifacts = (
        train / "model.json",
        evaluation / "metrics.csv",
        evaluation / "contact_sheet.png",
        evaluation / "curves.png",
        evaluation / "adherence.png",
        evaluation / "nearest.png",
        release / "generator.json",
        release / "README.md",
        release / "SHA256SUMS",
    )
    history = train / "history.csv"
    key = _digest(f"{dataset}/{model}", *artifacts, history)
    params = flatten(json.loads((train / "model.json").read_text(encoding="utf-8")))
    params |= flatten({"sampler": json.loads((release / "generator.json").read_text(encoding="utf-8"))["sampler"]})
    end_ms = int(history.stat().st_mtime * 1000)
    start_ms, curves = _curves(history, end_ms)
    metrics = [*curves, *((name, value, end_ms, 0) for name, value in _scores(evaluation / "metrics.csv"))]
    place = _place(settings)
    with _client(place) as client:
        experiment_id = _experiment(client, place, settings.experiment)
        run_id = _finished(client, experiment_id, key)
        if run_id is None:
            tags = {RUN_KEY: key, "dataset": dataset, "model": model, "mlflow.runName": f"{dataset}/{model}"}
            run_id = client.create_run(experiment_id, start_time=start_ms, tags=tags).info.run_id
            _log(client, run_id, params, metrics)
            for path in artifacts:
                client.log_artifact(run_id, str(path))
            client.set_terminated(run_id, "FINISHED", end_time=end_ms)
            _finished(client, experiment_id, key)  # a request whose answer was lost is sent twice and makes two runs
    _write_json(out, {"tracking_uri": str(place), "run_id": run_id, "run_key": key})


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as `section.key`: text; a list is its JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _digest(name: str, *paths: Path) -> str:
    digest = hashlib.sha256(name.encode())
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"log: {path} cannot be read ({error.strerror})") from None
        digest.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _curves(history: Path, end_ms: int) -> tuple[int, list[tuple[str, float, int, int]]]:
    """When training started, and each number of history.csv as (name, value, time in ms, step)."""
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    start_ms = end_ms - int(max((float(row["seconds"]) for row in rows), default=0.0) * 1000)
    curves = []
    for row in rows:
        step, at_ms = int(row.pop("step")), start_ms + int(float(row["seconds"]) * 1000)
        curves += [(f"train/{name}", float(text), at_ms, step) for name, text in row.items() if text != ""]
    return start_ms, curves


def _scores(path: Path) -> Iterator[tuple[str, float]]:
    """The numbers of metrics.csv: each value under its metric (and group), its interval and floor beside it."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = re.sub(r"[^\w\-./ ]", "_", f"{row['metric']}/{row['group']}".removesuffix("/"))
            for column, suffix in (("value", ""), ("ci_low", ".ci_low"), ("ci_high", ".ci_high"), ("floor", ".floor")):
                if row[column] != "" and not math.isnan(float(row[column])):
                    yield name + suffix, float(row[column])


# --- MLflow -----------------------------------------------------------------------------------------------------


def _place(settings: Tracking) -> Address:
    """Where to log: the same place whatever the working directory of who reads it later."""
    place = addresses.resolve(settings.uri, "tracking.uri")
    path = _sqlite_path(place.uri)
    return place if path is None else replace(place, uri=place.uri.replace(str(path), str(path.absolute()), 1))


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


@contextmanager
def _client(place: Address) -> Iterator[MlflowClient]:
    _check_sqlite(place)
    os.environ.update(NO_TELEMETRY)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    with place.kept_out_of_logs(), _user_in_environment(place.uri) as uri:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield MlflowClient(tracking_uri=uri)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = " ".join(place.hide(str(error)).split()).rpartition("(Caused by ")[2][:300]
            raise InputError(f"tracking.uri {place}: {reason}") from None


@contextmanager
def _user_in_environment(uri: str) -> Iterator[str]:
    """A web address without its user and password: MLflow prints addresses, and takes those two from here as well."""
    parts = urlsplit(uri)
    if not parts.scheme.startswith("http") or parts.username is None:
        yield uri
        return
    given = {"MLFLOW_TRACKING_USERNAME": parts.username, "MLFLOW_TRACKING_PASSWORD": parts.password or ""}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update({name: unquote(value) for name, value in given.items()})
    try:
        yield urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _check_sqlite(place: Address) -> None:
    """Refuse at once what MLflow would try again for minutes."""
    path = _sqlite_path(place.uri)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            start = file.read(16)
    except OSError as error:
        raise InputError(f"tracking.uri {place}: {path} cannot be written ({error.strerror})") from None
    if start not in (b"", b"SQLite format 3\0"):
        raise InputError(f"tracking.uri {place}: {path} is not an SQLite database")


def _experiment(client: MlflowClient, place: Address, name: str) -> str:
    """The experiment's id; made when it is not there, beside an SQLite database with its artifacts in mlartifacts/."""
    from mlflow.exceptions import MlflowException

    database = _sqlite_path(place.uri)
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
    """The finished run of these results; one that broke off is deleted, so that it is logged anew and whole."""
    finished = None
    for run in client.search_runs([experiment_id], filter_string=f"tags.`{RUN_KEY}` = '{key}'"):
        if run.info.status == "FINISHED":
            finished = run.info.run_id
        else:
            client.delete_run(run.info.run_id)
    return finished


def _log(client: MlflowClient, run_id: str, params: dict[str, str], metrics: list[tuple[str, float, int, int]]) -> None:
    from mlflow.entities import Metric, Param

    points = [Metric(name, value, at_ms, step) for name, value, at_ms, step in metrics]
    for start in range(0, len(points), BATCH["metrics"]):
        client.log_batch(run_id, metrics=points[start : start + BATCH["metrics"]])
    texts = [Param(name, value) for name, value in params.items()]
    for start in range(0, len(texts), BATCH["params"]):
        client.log_batch(run_id, params=texts[start : start + BATCH["params"]])


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n")
