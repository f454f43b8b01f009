"""Programs that read a release by a library of their own, in a process that cannot import medsynth."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ALONE = "import json, sys\nsys.modules['medsynth'] = None\n"  # so that importing it fails


def load(folder: Path, program: str, *needs: str) -> Any:
    """What a program, run in a release, prints last as JSON.

    Args:
        needs: libraries without which the test is skipped.
    """
    if absent := [name for name in needs if find_spec(name) is None]:
        pytest.skip(f"{absent[0]} is not installed: it comes with the extra `dev`")
    cache = folder.with_name(f"{folder.name}_cache")
    quiet = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE + program],
        cwd=folder,
        env=os.environ | quiet,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
