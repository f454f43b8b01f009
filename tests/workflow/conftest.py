"""A copy of the sources, and Snakemake as a user starts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def snakemake(
    checkout: Path, *arguments: str | Path, program: tuple[str, ...] = ("-m", "snakemake"), path: str = os.defpath
):
    """Run Snakemake as from an environment that is not activated, its programs being those on `path`."""
    command = [sys.executable, *program, "--snakefile", checkout / "workflow/Snakefile", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"PATH": path},
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the sources, so that a test may edit them."""
    folder = tmp_path_factory.mktemp("a checkout")
    for name in ("medsynth", "workflow", "config"):
        shutil.copytree(ROOT / name, folder / name)
    return folder
