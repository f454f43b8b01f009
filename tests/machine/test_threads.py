"""How the threads of a step wait for one another."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("asked", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_give_their_core_away_unless_asked_to_spin(tmp_path, asked, expected) -> None:
    """OpenMP says itself what it was told, as soon as torch has loaded it."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"} | asked
    command = [sys.executable, "-m", "medsynth", "sample", "--sample-id", "d-m-000000"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"OMP_DISPLAY_ENV": "TRUE"}, stderr=subprocess.PIPE, text=True
    )
    assert "OPENMP DISPLAY ENVIRONMENT" in done.stderr, done.stderr
    assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr
