"""A GPU of its own for each process on one machine, where Snakemake counts GPUs and assigns none.

A process claims a GPU by the kernel's lock on a file of that GPU's name. The lock ends with the process, however it
ends, so that nothing is left to clean up.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from medsynth.errors import InputError

log = logging.getLogger(__name__)

# Neither TMPDIR nor XDG_RUNTIME_DIR: they differ between jobs of one user, or go when the user logs out.
LOCKS = Path("/tmp") / f"medsynth-gpus-{os.getuid()}"
POLL_SECONDS = 0.5

_held: dict[str, int] = {}  # GPU → descriptor of its locked file, open as long as this process lives


def claim(names: Sequence[str], folder: Path | None = None) -> int:
    """The position in `names` of a GPU that no other process of this user holds; waits until there is one.

    A process that asks again gets the GPU that it has.

    Args:
        names: of the GPUs that this process may use, the same in every process.
    Raises:
        InputError: the folder of the locks is not this user's own.
    """
    folder = LOCKS if folder is None else folder
    _make_private(folder)
    waiting = False
    while True:
        for position, name in enumerate(names):
            if name in _held or _lock(folder / name, name):
                return position
        if not waiting:
            log.info("every one of %d GPUs is taken by another medsynth process: waiting for one", len(names))
            waiting = True
        time.sleep(POLL_SECONDS)


def _lock(path: Path, name: str) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _held[name] = descriptor
    return True


def _make_private(folder: Path) -> None:
    """Make the folder, or refuse one that another user could have put there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(f"{folder}: expected a folder that this user owns and nobody else may write: remove it")
