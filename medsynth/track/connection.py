"""Reaching MLflow: an answer or one clear line within about a minute, and no password in either."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from medsynth.config import Tracking, addresses
from medsynth.config.addresses import Address
from medsynth.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# An answer or an error within a minute, and no usage data sent; a setting of the user's own wins over the first two.
DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def place_of(settings: Tracking) -> Address:
    """The tracking address, independent of the working directory."""
    place = addresses.resolve(settings.uri, "tracking.uri")
    path = sqlite_path(place)
    return place if path is None else replace(place, uri=place.uri.replace(str(path), str(path.absolute()), 1))


def sqlite_path(place: Address) -> Path | None:
    prefix = "sqlite:///"
    return Path(place.uri.removeprefix(prefix).partition("?")[0]) if place.uri.startswith(prefix) else None


@contextmanager
def connected(place: Address) -> Iterator[MlflowClient]:
    """Yield a client; any failure becomes one line that names the server or database.

    Raises:
        InputError: the tracking database or server cannot be used.
    """
    _check_sqlite(place)
    os.environ.update(NO_TELEMETRY)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    with place.kept_out_of_logs(), _user_in_environment(place.uri) as uri, _alone(place):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield MlflowClient(tracking_uri=uri)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = " ".join(place.hide(str(error)).split()).rpartition("(Caused by ")[2][:300]
            raise InputError(f"tracking.uri {place}: {reason}") from None


@contextmanager
def _alone(place: Address) -> Iterator[None]:
    """Wait for other writers of an SQLite file on this machine: SQLite itself gives up on them after some seconds."""
    path = sqlite_path(place)
    if path is None:
        yield
        return
    lock = path.with_name(f"{path.name}.lock")
    with lock.open("ab") as file:  # let go of when it is closed, or its process ends
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(f"tracking.uri {place}: {lock} cannot be locked ({error.strerror})") from None
        yield


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
    """Check an SQLite file at once; MLflow would retry for minutes."""
    path = sqlite_path(place)
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
