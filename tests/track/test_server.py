"""A real MLflow server on SQLite: eight writers at once, every result once, and its pages in a browser."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from medsynth.config import Tracking
from medsynth.track.track import initialise
from tests.track.toys import WEIGHTS, log_when_all_are_ready, make_results, track_settings

EXPERIMENT = "server"
REJECTED = "model_7"  # all of its samples were
COLOUR = (255, 0, 200)  # of the contact sheets here, and of nothing else on MLflow's pages

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with one database for all tests here."""
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "0", "--workers", "2"]
    command += ["--uvicorn-opts", "--timeout-worker-healthcheck 600"]  # else a busy machine's workers are replaced
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "files")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "server.log").open("wb") as written:
        running = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=written, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while not (uri := address(log := (folder / "server.log").read_text())) or not answers(uri):
            assert running.poll() is None, log[-3000:]
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()


def address(log: str) -> str | None:
    """The server's own word for it: the kernel chose the port."""
    found = re.search(r"running on (http://127\.0\.0\.1:\d+)", log)
    return found and found[1]


def answers(uri: str) -> bool:
    """Whether the server listens; it holds its port before."""
    try:
        with urlopen(f"{uri}/health") as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


@pytest.fixture(scope="module", autouse=True)
def patient():
    """A request is sent once: a busy server's late answer is not taken for a lost one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict[str, Path]]:
    """Of eight models; their contact sheets have a colour that can be found on a page."""
    folder = tmp_path_factory.mktemp("results")
    made = [make_results(folder, f"model_{i}", kept=0 if f"model_{i}" == REJECTED else 3) for i in range(8)]
    for paths in made:
        Image.new("RGB", (400, 300), COLOUR).save(paths["evaluation"] / "contact_sheet.png")
    return made


def log_at_once(uri: str, results: list[dict[str, Path]], folder: Path) -> list[dict]:
    """The records of processes that log at the same moment."""
    import mlflow  # noqa: F401 - once, for all that are forked below

    tracking, made = Tracking(uri=uri, experiment=EXPERIMENT), folder / "initialised.json"
    initialise(track_settings(tracking), made)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(results))
    outs = [folder / f"{i}.json" for i in range(len(results))]
    writers = [
        context.Process(target=log_when_all_are_ready, args=(barrier, tracking, made, *paths.values(), out))
        for paths, out in zip(results, outs, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * len(writers)
    return [json.loads(out.read_text()) for out in outs]


@pytest.fixture(scope="module")
def records(server: str, results, tmp_path_factory) -> list[dict]:
    return log_at_once(server, results, tmp_path_factory.mktemp("records"))


def client_of(uri: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def all_runs(uri: str) -> dict[str, object]:
    """Run id → run, of those that were deleted too."""
    from mlflow.entities import ViewType

    client = client_of(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return {run.info.run_id: run for run in client.search_runs([experiment], run_view_type=ViewType.ALL)}


def test_eight_writers_make_one_family_of_whole_runs(server: str, records) -> None:
    runs = all_runs(server)
    [parent] = {record["parent_run_id"] for record in records}
    assert set(runs) == {parent, *(record["run_id"] for record in records)} and len(runs) == 9
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    children = [run for run_id, run in runs.items() if run_id != parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent}
    assert {run.data.tags["model"] for run in children} == {f"model_{i}" for i in range(8)}
    for run in children:
        assert run.data.metrics["kid"] == 2.5 and run.data.params["settings.seed"] == "1"
        contexts = {given.tags[0].value for given in run.inputs.dataset_inputs}
        assert contexts == ({"training"} if run.data.tags["model"] == REJECTED else {"training", "release"})


def test_released_models_alone_are_registered_and_their_weights_come_back(
    server: str, records, tmp_path: Path, monkeypatch
) -> None:
    import mlflow

    versions = {version.name: version for version in client_of(server).search_model_versions()}
    assert set(versions) == {f"toy-model_{i}" for i in range(8)} - {f"toy-{REJECTED}"}
    assert {version.name: f"{version.name}/{version.version}" for version in versions.values()} == {
        record["model_version"].partition("/")[0]: record["model_version"]
        for record in records
        if record["model_version"]
    }
    assert {version.run_id for version in versions.values()} < {record["run_id"] for record in records}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    folder = Path(mlflow.artifacts.download_artifacts("models:/toy-model_3/1", dst_path=str(tmp_path)))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS and (folder / "model.json").is_file()


def test_logging_again_at_once_adds_nothing(server: str, results, records, tmp_path: Path) -> None:
    before = all_runs(server)
    assert log_at_once(server, results, tmp_path) == records
    after = all_runs(server)
    assert {run_id: run.info.end_time for run_id, run in after.items()} == {
        run_id: run.info.end_time for run_id, run in before.items()
    }
    assert len(client_of(server).search_model_versions()) == 7


# --- the pages --------------------------------------------------------------------------------------------------


def page(browser: str, address: str, folder: Path) -> tuple[str, np.ndarray]:
    """What a page holds and looks like once it is at rest: its DOM, and its pixels (H, W, 3)."""
    command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={folder}", "--window-size=1400,1000"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    command += ["--virtual-time-budget=20000", "--dump-dom", f"--screenshot={folder}/page.png", address]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, np.asarray(Image.open(folder / "page.png").convert("RGB"))


def coloured(pixels: np.ndarray) -> int:
    """Pixels of about the contact sheets' colour."""
    return int((np.abs(pixels.astype(int) - COLOUR).max(axis=-1) < 12).sum())


def test_a_browser_finds_the_runs_in_the_experiment(browser: str, server: str, records, tmp_path: Path) -> None:
    experiment = client_of(server).get_experiment_by_name(EXPERIMENT).experiment_id
    dom, pixels = page(browser, f"{server}/#/experiments/{experiment}/runs", tmp_path)
    assert "toy c0ffee" in dom and re.search(r">9\D*matching runs", dom)  # one to be opened, eight below it
    assert coloured(pixels) == 0  # or the next test would prove nothing


def test_a_browser_shows_the_contact_sheet_of_a_run(browser: str, server: str, records, tmp_path: Path) -> None:
    run = client_of(server).get_run(records[0]["run_id"])
    address = f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/contact_sheet.png"
    dom, pixels = page(browser, address, tmp_path)
    assert "toy/model_0" in dom
    assert coloured(pixels) > 10_000


def test_a_browser_finds_the_registered_model(browser: str, server: str, records, tmp_path: Path) -> None:
    dom, _ = page(browser, f"{server}/#/models/toy-model_0/versions/1", tmp_path)
    assert "toy/model_0" in dom  # the run that it came from
