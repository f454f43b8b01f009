"""Curves of a training that is under way: each row once, whatever the server does."""

import math
from pathlib import Path

import pytest

from medsynth.artifacts import live
from medsynth.config import Tracking
from medsynth.errors import InputError
from medsynth.track.follow import follow
from tests.track.toys import client_of

ROWS = [
    {"step": 10 * n, "images_seen": 320 * n, "seconds": 1.5 * n, "total": 1 / n, "val_loss": math.nan if n % 2 else 2.0}
    for n in range(1, 6)
]
CSV = "step,images_seen,seconds,loss,val_loss\n" + "".join(
    f"{row['step']},{row['images_seen']},{row['seconds']},{row['total']},{'' if n % 2 else 2.0}\n"
    for n, row in enumerate(ROWS, start=1)
)


@pytest.fixture
def train(workdir: Path) -> Path:
    folder = workdir / "train/toy/diffusion"
    live.begin(folder / live.LIVE, ROWS[:2])
    return folder


def finish(train: Path) -> None:
    (train / "history.csv").write_text(CSV)
    (train / "model.json").write_text("{}")
    (train / live.LIVE).unlink()


def in_turn(*turns):
    """What happens between two looks; to look once more than was expected is an error."""
    left = iter(turns)
    return lambda: next(left)()


def runs_of(workdir: Path, experiment: str) -> list:
    client = client_of(workdir)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def curve(workdir: Path, run, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client_of(workdir).get_metric_history(run.info.run_id, name)]


def test_rows_are_logged_once_as_they_come_until_the_end(workdir: Path, train: Path) -> None:
    seen = []

    def go_on() -> None:
        [run] = runs_of(workdir, "live")
        seen.append((run.info.status, len(curve(workdir, run, "train/loss"))))
        live.add(train / live.LIVE, ROWS[2])
        with (train / live.LIVE).open("a") as file:
            file.write('{"step": 40, "im')  # a row that is being written

    def resume() -> None:  # from a checkpoint before the last row
        seen.append(len(curve(workdir, runs_of(workdir, "live")[0], "train/loss")))
        live.begin(train / live.LIVE, ROWS[:2])

    follow(Tracking(experiment="live"), train, in_turn(go_on, resume, lambda: finish(train)))
    [run] = runs_of(workdir, "live")
    assert seen == [("RUNNING", 2), 3] and run.info.status == "FINISHED"
    assert run.info.run_name == "toy/diffusion (live)"
    assert curve(workdir, run, "train/loss") == [(10 * n, pytest.approx(1 / n)) for n in range(1, 6)]
    assert curve(workdir, run, "train/val_loss") == [(20, 2.0), (40, 2.0)]
    assert "train/total" not in run.data.metrics and run.data.metrics["train/images_seen"] == 1600


def test_a_database_that_cannot_be_used_costs_one_line_and_no_row(workdir: Path, train: Path, caplog) -> None:
    database = (workdir / "mlflow.db").rename(workdir / "aside.db")
    (workdir / "mlflow.db").write_bytes(b"no database at all")

    def mend() -> None:
        database.replace(workdir / "mlflow.db")

    follow(Tracking(experiment="back"), train, in_turn(lambda: None, mend, lambda: finish(train)))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and "is not an SQLite database; trying again" in warned[0]
    [run] = runs_of(workdir, "back")
    assert len(curve(workdir, run, "train/loss")) == 5 and run.info.status == "FINISHED"


def test_a_training_that_has_finished_before_is_logged_whole(workdir: Path, train: Path) -> None:
    finish(train)
    follow(Tracking(experiment="late"), train, in_turn())
    [run] = runs_of(workdir, "late")
    assert len(curve(workdir, run, "train/loss")) == 5


def test_no_folder_is_one_line(workdir: Path) -> None:
    with pytest.raises(InputError, match=r"^follow: nowhere: no such folder, expected one that train writes$"):
        follow(Tracking(), Path("nowhere"), in_turn())


def test_a_folder_whose_training_has_not_begun_is_waited_for(workdir: Path, train: Path) -> None:
    (train / live.LIVE).unlink()
    follow(
        Tracking(experiment="early"), train, in_turn(lambda: live.begin(train / live.LIVE, ROWS), lambda: finish(train))
    )
    assert len(runs_of(workdir, "early")) == 1
