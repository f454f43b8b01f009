"""What every benchmark's command line shares: bad input ends in one line, results are a CSV."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from medsynth.disk import files
from medsynth.errors import InputError


def run_or_exit(main: Callable[[], None]) -> None:
    """Run a benchmark; bad input ends in one line on stderr and exit status 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        sys.exit(f"{Path(sys.argv[0]).name}: {error.strerror or error}{where}")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """`--precision`, the same for every contender."""
    from medsynth.machine.devices import Precision  # brings torch, which prepare_speed's workers need not load

    help = "number format of all contenders' training; auto is the device's fastest"
    parser.add_argument("--precision", choices=get_args(Precision), default="auto", help=help)


def add_run(parser: argparse.ArgumentParser) -> None:
    """What every training benchmark is run with: `--precision`, `--threads`, `--seed` and `--out`."""
    add_precision(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)


def write_table(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Write rows as a CSV, whole or not at all; a row may leave a column out."""
    table = pd.DataFrame(list(rows), columns=list(columns))
    with files.written_whole(path) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    return table


def positive(text: str, name: str, kind: Callable[[str], float] = float) -> float:
    """A number above zero from the command line.

    Raises:
        InputError: it is none.
    """
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise InputError(f"--{name}: got {text!r}, expected a {'whole ' if kind is int else ''}number above 0")
    return value


def positives(text: str, name: str, kind: Callable[[str], float] = float) -> list[Any]:
    """Comma-separated numbers above zero."""
    return [positive(part, name, kind) for part in text.split(",")]
