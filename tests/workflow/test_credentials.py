"""A password of the tracking server: neither Snakemake nor the step writes it anywhere, and the server receives it."""

import base64
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SECRET = "hunter2unlikely"


def snakemake(folder: Path, uri: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    values = yaml.safe_load((ROOT / "config/tiny.yaml").read_text()) | {"tracking": {"uri": uri}}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    command = [
        "--snakefile",
        ROOT / "workflow/Snakefile",
        "--configfile",
        folder / "config.yaml",
        "--directory",
        folder,
    ]
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, command), "--cores", "1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PASSWORD"} | environment,
        timeout=600,
    )


def test_a_password_in_the_configuration_is_refused_without_quoting_it(tmp_path: Path) -> None:
    done = snakemake(tmp_path, f"http://name:{SECRET}@127.0.0.1:1", "-n")
    assert done.returncode != 0 and "Traceback" not in done.stdout and SECRET not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "tracking.uri" in line]
    assert "write ${NAME} in its place" in line and "http://***@127.0.0.1:1" in line


def test_a_variable_that_is_not_set_is_said_before_any_step(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "http://name:${PASSWORD}@127.0.0.1:1", "-n")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "tracking.uri: the environment variable PASSWORD is not set" in done.stdout


@pytest.fixture
def server():
    """A server that lets nobody in, and the Authorization headers that it was sent."""
    received: list[str] = []

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"nobody")

        def log_message(self, *args) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1], received
        running.shutdown()


def test_the_password_reaches_the_server_and_no_file(tmp_path: Path, server) -> None:
    port, received = server
    for model in ("haar", "student"):  # what the rule waits for
        path = tmp_path / "results/release/tiny" / model / "SHA256SUMS"
        path.parent.mkdir(parents=True)
        path.touch()
    uri = f"http://name:${{PASSWORD}}@127.0.0.1:{port}"
    only = ["--allowed-rules", "track_initialise", "--printshellcmds", "results/track/initialised.json"]
    done = snakemake(tmp_path, uri, *only, PASSWORD=SECRET)
    assert done.returncode != 0 and f"tracking.uri http://***@127.0.0.1:{port}" in done.stdout, done.stdout
    assert received and set(received) == {f"Basic {base64.b64encode(f'name:{SECRET}'.encode()).decode()}"}
    [settings] = (tmp_path / "results/diagnostics/settings").glob("track-*.json")
    assert SECRET not in done.stdout and "${PASSWORD}" in settings.read_text()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(".snakemake" in str(path) for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
