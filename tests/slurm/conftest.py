"""A copy of the sources, and Snakemake as a user of the cluster starts it, in a folder that its nodes see."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("medsynth", "workflow", "config"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def values(checkout: Path) -> dict:
    """The tiny configuration."""
    return yaml.safe_load((checkout / "config/tiny.yaml").read_text())


@pytest.fixture(scope="session")
def start(checkout: Path) -> Callable[..., subprocess.Popen]:
    """start(folder, *arguments, config=…, path=…): Snakemake in `folder`, its output in one pipe."""

    def start(folder: Path, *arguments: str | Path, config: Path | None = None, path: str = "") -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "workflow/Snakefile"]
        command += ["--configfile", config or checkout / "config/tiny.yaml", "--directory", folder, *arguments]
        search = os.pathsep.join(filter(None, (path, os.environ.get("PATH", os.defpath))))
        return subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PATH": search},
        )

    return start


@pytest.fixture(scope="session")
def snakemake(start) -> Callable[..., tuple[int, str]]:
    """The same to its end: exit status and output."""

    def run(*arguments, **named) -> tuple[int, str]:
        process = start(*arguments, **named)
        output, _ = process.communicate()
        return process.returncode, output

    return run
