"""The history of a training that is under way, a JSON record a line: for whoever looks on, nothing reads it back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from medsynth.disk import files

LIVE = Path("checkpoints") / "history.jsonl"


def begin(path: Path, history: Iterable[Mapping[str, float]]) -> None:
    """Write the rows that there are, in place of any others."""
    files.write_text(path, "".join(map(_line, history)))


def add(path: Path, row: Mapping[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(row))


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(row) + "\n"  # NaN as Python writes it


def rows(path: Path) -> list[dict[str, float]]:
    """The rows so far, none where there is no file; a line that is being written is left for the next time."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
