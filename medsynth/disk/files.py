"""Outputs that are written whole or not at all, and the digests that name them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

# What NumPy and zipfile raise on damaged bytes: a flipped one can ask for any size, encryption or compression.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile, RuntimeError, MemoryError, SyntaxError, TokenError)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends, and is removed if it fails.

    The temporary name keeps the suffix, since some writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path, path.suffix)
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        with _held(part, os.O_CREAT):
            yield part
            _sync(part)
            part.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names none
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block ends, and is removed if it fails.

    Where `path` is a link, to another disk perhaps, the folder that it leads to is replaced.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path, "")
    token = secrets.token_hex(4)
    part, old = (path.with_name(f".{path.name}.{token}.{state}") for state in ("part", "old"))
    part.mkdir()
    try:
        with _held(part):
            yield part
            _sync(part)
            if path.exists():  # set aside whole: one that is killed while removing it must not leave a half here
                path.replace(old)
            part.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _held(part: Path, flags: int = 0) -> Iterator[None]:
    """Hold the kernel's lock on a temporary file or folder: it ends with this process, however that ends."""
    descriptor = os.open(part, _access(part) | flags, 0o666)
    try:
        with suppress(OSError):  # a file system without locks: then nobody can take the part for abandoned either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path, suffix: str) -> None:
    """Remove the temporary files and folders of writers of `path` that were killed: nobody holds them."""
    name = re.escape(path.name.removesuffix(suffix))
    for left in path.parent.iterdir():
        if re.fullmatch(rf"\.{name}\.[0-9a-f]{{8}}\.(part|old){re.escape(suffix)}", left.name):
            with suppress(OSError), _claimed(left):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def _claimed(part: Path) -> Iterator[None]:
    """Take the lock that a living writer would hold.

    Raises:
        OSError: it is held, or cannot be had here.
    """
    descriptor = os.open(part, _access(part))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _access(part: Path) -> int:
    """How to open for locking. NFS locks only files that are open for writing: there, abandoned folders stay."""
    return os.O_RDONLY if part.is_dir() else os.O_RDWR


def _sync(part: Path) -> None:
    """Flush a file or folder to disk, so that a power cut after the rename leaves no empty file."""
    for path in (*part.rglob("*"), part):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
