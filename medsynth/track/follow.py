"""Curves in MLflow while a model trains: reads what training writes as it goes, and cannot disturb it."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from medsynth.artifacts.live import LIVE, rows
from medsynth.config import Tracking
from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.track.connection import connected, place_of
from medsynth.track.track import BATCH, NAME, experiment_of

log = logging.getLogger(__name__)

POLL_SECONDS = 10.0


def follow(settings: Tracking, train: Path, wait: Callable[[], None] = lambda: time.sleep(POLL_SECONDS)) -> None:
    """Log each row of a training's history to a run of its own until the training has finished.

    A server that cannot be reached costs one line; what it missed is logged once it can.

    Args:
        train: folder that `train` writes; its last two parts are the names of the dataset and the model.
        wait: called between two looks at it.
    Raises:
        InputError: there is no such folder.
    """
    if not train.is_dir():
        raise InputError(f"follow: {train}: no such folder, expected one that train writes")
    follower = Follower(settings, train)
    silent = False
    while True:
        finished = (train / "model.json").exists() and not (train / LIVE).exists()
        try:
            follower.look(finished)
            if finished:
                return
            silent = False
        except InputError as error:
            if not silent:
                log.warning("%s; trying again while the training goes on", error)
            silent = True
            if finished:
                return
        wait()


class Follower:
    """One training and its run.

    Attributes:
        step: of the last row that was logged.
        start_ms: when training would have begun, had it never been interrupted.
    """

    def __init__(self, settings: Tracking, train: Path) -> None:
        self.settings = settings
        self.train = train
        self.name = "/".join(Path(os.path.abspath(train)).parts[-2:])  # noqa: PTH100  # a link keeps its name
        self.step = -1
        self.run_id: str | None = None
        self.start_ms: int | None = None

    def look(self, finished: bool) -> None:
        """Log the rows that are new.

        Raises:
            InputError: the tracking database or server cannot be used.
        """
        history = _of_finished(self.train) if finished else rows(self.train / LIVE)
        new = [row for row in history if row["step"] > self.step]
        if not new and not (finished and self.run_id):
            return
        place = place_of(self.settings)
        with connected(place) as client:
            from mlflow.entities import Metric

            if self.run_id is None:
                tags = {NAME: f"{self.name} (live)", "live": "true"}
                experiment = experiment_of(client, place, self.settings.experiment)
                self.run_id = client.create_run(experiment, tags=tags).info.run_id
                log.info("%s: run %s in %s", self.name, self.run_id, place)
            if self.start_ms is None:
                self.start_ms = int(1000 * (time.time() - history[-1]["seconds"]))
            start_ms = self.start_ms
            metrics = [
                Metric(f"train/{_renamed(name)}", value, start_ms + int(1000 * row["seconds"]), int(row["step"]))
                for row in new
                for name, value in row.items()
                if name != "step" and math.isfinite(value)
            ]
            for first in range(0, len(metrics), BATCH["metrics"]):
                client.log_batch(self.run_id, metrics=metrics[first : first + BATCH["metrics"]])
            self.step = max([self.step, *(int(row["step"]) for row in new)])
            if finished:
                client.set_terminated(self.run_id, "FINISHED")


def _renamed(term: str) -> str:
    """As history.csv names it."""
    return "loss" if term == "total" else term


def _of_finished(train: Path) -> list[dict[str, float]]:
    table = tables.read(train / "history.csv", ["step", "seconds"]).apply(pd.to_numeric, errors="coerce")
    return [{str(name): float(value) for name, value in row.items()} for row in table.to_dict("records")]
