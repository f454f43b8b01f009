"""A working directory with an empty tracking database."""

import shutil
from pathlib import Path

import pytest

from medsynth.config import Tracking
from medsynth.track.track import initialise
from tests.track.toys import track_settings


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
