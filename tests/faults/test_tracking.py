"""A tracking server that is down, slow or dies half-way: one line in bounded time, and in the end one run, whole.

The server is a few lines of HTTP that keep runs as a real one does; `tests/track/` has real databases.
"""

import json
import re
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from medsynth.config import Tracking
from medsynth.errors import InputError
from medsynth.track.results import flatten
from medsynth.track.track import initialise
from tests.faults.conftest import contents
from tests.track.toys import INFO, make_results, track_settings
from tests.track.toys import log as log_results

LOSE_ANSWER, DROP = "lose the answer", "drop"
PARAMS = len(flatten(INFO)) + 1  # and the sampler's one


class Server(ThreadingHTTPServer):
    """Experiments, runs, artifacts and registered models in memory; `trouble` says what happens to the n-th request.

    Attributes:
        trouble: number of a request, from 0 → DROP it unread, or do it and LOSE_ANSWER.
        dies_at: requests from this one on are dropped.
        delay: seconds before each answer.
        hangs: no request is answered as long as this server runs.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict] = {}
        self.artifacts: dict[str, bytes] = {}
        self.models: dict[str, list[dict]] = {}
        self.trouble: dict[int, str] = {}
        self.dies_at: int | None = None
        self.delay = 0.0
        self.hangs = False
        self.ended = threading.Event()
        self.requests: list[str] = []
        self.lock = threading.Condition()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """A client that hung up is what some tests ask for."""

    def shown(self) -> list[dict]:
        """The runs that a user sees."""
        return [run for run in self.runs.values() if run["info"]["lifecycle_stage"] == "active"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(f"{self.command} {url.path}")
            self.server.lock.notify_all()
        trouble = self.server.trouble.get(number)
        if self.server.dies_at is not None and number >= self.server.dies_at:
            trouble = DROP
        if self.server.hangs:
            self.server.ended.wait()
            trouble = DROP
        if trouble == DROP:
            self.close_connection = True
            return
        time.sleep(self.server.delay)
        with self.server.lock:
            status, value = self.do(url.path, body, parse_qs(url.query))
        if trouble == LOSE_ANSWER:
            self.close_connection = True
            return
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the library's names

    def do(self, path: str, body: bytes, query: dict[str, list[str]]) -> tuple[int, dict]:
        """Status and answer of one request, as MLflow's REST API documents them."""
        server = self.server
        if "mlflow-artifacts/artifacts/" in path:
            server.artifacts[path.partition("artifacts/artifacts/")[2]] = body
            return 200, {}
        call = path.partition("/mlflow/")[2]
        given = json.loads(body) if body else {name: values[0] for name, values in query.items()}
        if call == "experiments/get-by-name":
            if (name := given["experiment_name"]) not in server.experiments:
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}
            experiment = {"experiment_id": server.experiments[name], "name": name, "lifecycle_stage": "active"}
            return 200, {"experiment": experiment}
        if call == "experiments/create":
            server.experiments[given["name"]] = str(len(server.experiments) + 1)
            return 200, {"experiment_id": server.experiments[given["name"]]}
        if call == "runs/create":
            run_id = uuid.uuid4().hex  # MLflow remembers where the artifacts of a run are
            info = {"run_id": run_id, "run_uuid": run_id, "status": "RUNNING", "lifecycle_stage": "active"}
            info |= {"experiment_id": given["experiment_id"], "start_time": given["start_time"]}
            info |= {"artifact_uri": f"mlflow-artifacts:/{run_id}"}
            server.runs[run_id] = {"info": info, "data": {"metrics": [], "params": [], "tags": given["tags"]}}
            return 200, {"run": server.runs[run_id]}
        if call == "runs/search":
            key = re.search(r"= '(.*)'", given["filter"])[1]
            return 200, {
                "runs": [run for run in server.shown() if {"key": RUN_KEY, "value": key} in run["data"]["tags"]]
            }
        if call == "runs/get":
            return 200, {"run": server.runs[given["run_id"]]}
        if call in ("registered-models/create", "model-versions/create", "model-versions/delete"):
            return self.register(call, given)
        if call == "registered-models/get":
            return 200, {"registered_model": {"name": given["name"]}}
        if call == "model-versions/search":
            run_id = re.search(r"run_id = '(.*)'", given["filter"])[1]
            versions = [version for model in server.models.values() for version in model if version["run_id"] == run_id]
            return 200, {"model_versions": versions}
        if call in ("runs/delete", "runs/log-batch", "runs/update", "runs/set-tag", "runs/log-inputs"):
            run = server.runs[given["run_id"]]
            if call == "runs/delete":
                run["info"]["lifecycle_stage"] = "deleted"
            elif call == "runs/update":
                run["info"] |= {name: given[name] for name in ("status", "end_time") if name in given}
            elif call == "runs/set-tag":
                others = [tag for tag in run["data"]["tags"] if tag["key"] != given["key"]]
                run["data"]["tags"] = [*others, {"key": given["key"], "value": given["value"]}]
            elif call == "runs/log-inputs":
                run["inputs"] = {"dataset_inputs": given["datasets"]}
            else:
                for name in ("metrics", "params", "tags"):
                    run["data"][name] += [one for one in given.get(name, []) if one not in run["data"][name]]
            return 200, {"run_info": run["info"]}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"no {self.command} {path}"}

    def register(self, call: str, given: dict) -> tuple[int, dict]:
        models, name = self.server.models, given["name"]
        if call == "registered-models/create":
            if name in models:
                return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "it is there"}
            models[name] = []
            return 200, {"registered_model": {"name": name}}
        if call == "model-versions/create":
            number = 1 + max((int(version["version"]) for version in models[name]), default=0)
            version = {key: given[key] for key in ("name", "source", "run_id", "tags")} | {"version": str(number)}
            models[name].append(version)
            return 200, {"model_version": version}
        models[name] = [version for version in models[name] if version["version"] != given["version"]]
        return 200, {}


RUN_KEY = "medsynth.run_key"


@pytest.fixture
def server():
    running = Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.ended.set()
    running.shutdown()
    running.server_close()


@pytest.fixture
def quick(monkeypatch) -> None:
    """A lost connection is tried again at once, and a server that is only slow is never given up."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


def one_whole_run(server: Server) -> None:
    """One run below one for the workflow, both finished, and one version of its model."""
    tags = {run["info"]["run_id"]: {tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in server.shown()}
    [parent] = [run_id for run_id in tags if "dataset" not in tags[run_id]]
    [run] = [run for run in server.shown() if run["info"]["run_id"] != parent]
    run_id = run["info"]["run_id"]
    assert {run["info"]["status"] for run in server.shown()} == {"FINISHED"}
    assert tags[run_id]["mlflow.parentRunId"] == parent
    assert len(run["data"]["params"]) == PARAMS
    points = [(point["key"], point["step"]) for point in run["data"]["metrics"]]
    assert len(points) == len(set(points)) == 13
    assert len(run["inputs"]["dataset_inputs"]) == 2
    assert len([name for name in server.artifacts if name.startswith(run_id)]) == 15
    assert [version["run_id"] for version in server.models["toy-diffusion"]] == [run_id]


def log(server: Server, results: dict[str, Path], out: Path) -> None:
    log_results(Tracking(uri=server.uri, experiment="e"), results, out)


def test_a_server_in_health_takes_one_run(server, tmp_path: Path) -> None:
    """What the tests below break; it also says how many requests there are to break."""
    results = make_results(tmp_path / "results")
    log(server, results, tmp_path / "log.json")
    one_whole_run(server)
    log(server, results, tmp_path / "again.json")
    one_whole_run(server)
    assert (tmp_path / "log.json").read_text() == (tmp_path / "again.json").read_text()


def test_a_server_that_dies_at_any_request_costs_one_line_and_a_rerun_logs_it_once(fault, server, quick, tmp_path):
    results = make_results(tmp_path / "results")
    before = contents(tmp_path / "results")
    number = 0
    while True:
        server.requests.clear()
        server.dies_at = number
        try:
            log(server, results, tmp_path / "log.json")
        except InputError as error:
            fault("tracking server dies half-way")
            assert str(error).startswith(f"tracking.uri {server.uri}: ") and "\n" not in str(error)
            assert not (tmp_path / "log.json").exists() and contents(tmp_path / "results") == before
        else:
            break
        number += 1
    assert number > 12
    server.dies_at = None
    log(server, results, tmp_path / "log.json")
    one_whole_run(server)


def test_no_answer_that_is_lost_makes_a_second_run(fault, server, quick, tmp_path) -> None:
    results = make_results(tmp_path / "results")
    log(server, results, tmp_path / "log.json")
    count = len(server.requests)
    for number in range(count):
        server.runs.clear()
        server.artifacts.clear()
        server.models.clear()
        server.requests.clear()
        server.trouble = {number: LOSE_ANSWER}
        fault("answer of the tracking server lost")
        log(server, results, tmp_path / "log.json")
        one_whole_run(server)


def test_a_server_that_never_answers_is_given_up_in_bounded_time(fault, server, quick, tmp_path, monkeypatch) -> None:
    """It would hang for ever, so that whoever comes back has given up; two requests are a wait of two time limits."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    server.hangs = True
    fault("tracking server hangs")
    with pytest.raises(InputError, match="timed out"):
        initialise(track_settings(Tracking(uri=server.uri, experiment="e")), tmp_path / "initialised.json")
    with server.lock:
        assert server.lock.wait_for(lambda: len(server.requests) >= 2, timeout=600)
    assert len(server.requests) == 2


def test_a_slow_server_is_waited_for(fault, server, quick, tmp_path) -> None:
    server.delay = 0.3
    fault("tracking server slow")
    log(server, make_results(tmp_path / "results"), tmp_path / "log.json")
    one_whole_run(server)


def test_by_default_no_request_waits_longer_than_a_minute() -> None:
    """In a process of its own: the defaults are written into the environment."""
    program = (
        "from medsynth.track.connection import connected; from medsynth.config.addresses import resolve\n"
        "with connected(resolve('http://127.0.0.1:9', 'tracking.uri')): pass\n"
        "from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as tries\n"
        "from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT as seconds\n"
        "print((tries.get() + 1) * seconds.get())"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert float(done.stdout) <= 60
