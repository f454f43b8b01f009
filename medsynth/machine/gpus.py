"""GPUs of its own for each job on one machine, where Snakemake counts GPUs and assigns none.

A process claims a GPU by the kernel's lock on a file of that GPU's name. The lock ends with the process, however it
ends, so that nothing is left to clean up. One process at a time looks for free GPUs: it takes all that it needs or
none, so that two trainings on several GPUs never wait for each other.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medsynth.errors import InputError

log = logging.getLogger(__name__)

# Neither TMPDIR nor XDG_RUNTIME_DIR: they differ between jobs of one user, or go when the user logs out.
LOCKS = Path("/tmp") / f"medsynth-gpus-{os.getuid()}"
POLL_SECONDS = 0.5

_held: dict[str, int] = {}  # GPU → descriptor of its locked file, open as long as this process lives


def claim(names: Sequence[str], count: int = 1, folder: Path | None = None) -> list[int]:
    """The positions in `names` of so many GPUs that no other process of this user holds; waits until there are.

    A process that asks again gets the GPUs that it has.

    Args:
        names: of the GPUs that this process may use, the same in every process; at least `count`.
    Raises:
        InputError: the folder of the locks is not this user's own.
    """
    folder = LOCKS if folder is None else folder
    _make_private(folder)
    waiting = False
    while True:
        own = [position for position, name in enumerate(names) if name in _held][:count]
        if len(own) == count:
            return own
        with _turn(folder):
            free = [position for position, name in enumerate(names) if name not in _held and _lock(folder / name, name)]
            needed = count - len(own)
            for position in free[needed if len(free) >= needed else 0 :]:
                os.close(_held.pop(names[position]))
        if len(free) < needed:
            if not waiting:
                log.info("%d of %d GPUs are free, %d needed: waiting for other medsynth processes to end",
                         len(own) + len(free), len(names), count)  # fmt: skip
                waiting = True
            time.sleep(POLL_SECONDS)


def hand_on() -> None:
    """Let the program that replaces this process hold its GPUs."""
    for descriptor in _held.values():
        os.set_inheritable(descriptor, True)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """While the block runs, no other process looks for free GPUs."""
    descriptor = _open(folder / "turn")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, name: str) -> bool:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _held[name] = descriptor
    return True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _make_private(folder: Path) -> None:
    """Make the folder, or refuse one that another user could have put there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(f"{folder}: expected a folder that this user owns and nobody else may write: remove it")
