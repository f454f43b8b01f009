"""The results of a finished training, kept beside its outputs for as long as what they came from is the same.

A workflow deletes a step's outputs before it runs the step again, also where the store was prepared anew and is what it
was. Hard links cost no room on the disk.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from medsynth.disk import files

log = logging.getLogger(__name__)

# The record that vouches for the weights comes last.
OUTPUTS = ("model.safetensors", "history.csv", "strip.png", "reconstructions.safetensors", "model.json")
FOLDER = "kept"


def keep(out: Path, origin: dict[str, Any]) -> None:
    """Keep the outputs in `out`, and what they came from."""
    with files.folder_written_whole(out / FOLDER) as part:
        for name in OUTPUTS:
            _link(out / name, part / name)
        record = {"origin": origin, "sha256": {name: files.sha256(out / name) for name in OUTPUTS}}
        (part / "origin.json").write_text(json.dumps(record), encoding="utf-8")


def take_back(out: Path, origin: dict[str, Any]) -> bool:
    """Put kept outputs in place if they came from the same; False where there are none, or they are damaged.

    For one process at a time: the linked parts are not held by a lock.
    """
    folder = out / FOLDER
    try:
        record = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
        if record["origin"] != origin:
            return False
        if any(files.sha256(folder / name) != record["sha256"][name] for name in OUTPUTS):
            log.warning("%s: damaged, training anew", folder)
            return False
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: cannot be read (%s), training anew", folder, type(error).__name__)
        return False
    for name in OUTPUTS:
        with files.written_whole(out / name) as part:
            part.unlink()
            _link(folder / name, part)
    log.info("trained before from the same settings, data and code: %s", folder)
    return True


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
