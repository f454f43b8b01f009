"""Images in a folder for each class: `root/<class>/...`."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from medsynth import registry
from medsynth.errors import InputError

log = logging.getLogger(__name__)


def rows_of_folders(root: Path, subject: str | None) -> list[dict[str, str]]:
    """A row for each image, in the order of the paths: image, subject_id, and the class as `label`.

    Files of no known image format are counted, and left out. Links are not followed.

    Args:
        subject: a regular expression with one group, found in the path below the root; None: every image is a subject.
    Raises:
        InputError: fewer than two classes, an expression that is none, or an image that it does not match.
    """
    pattern = _compiled(subject)
    rows, others = [], 0
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        name = path.relative_to(root).as_posix()
        if "/" not in name or any(part.startswith(".") for part in name.split("/")):
            continue
        if not name.lower().endswith(tuple(registry.FORMATS)):
            others += 1
            continue
        rows.append({"image": name, "subject_id": _subject(pattern, name), "label": name.partition("/")[0]})
    classes = sorted({row["label"] for row in rows})
    if len(classes) < 2:
        found = f"one class, {classes[0]!r}" if classes else "no images in folders of it"
        raise InputError(f"{root}: {found}, expected a folder for each of at least two classes")
    if others:
        log.warning("%s: %d files of no known image format are left out", root, others)
    if pattern is None:
        log.warning("%s: every image counts as a subject of its own; --subject takes the subject from the name", root)
    return rows


def _compiled(subject: str | None) -> re.Pattern[str] | None:
    if subject is None:
        return None
    try:
        pattern = re.compile(subject)
    except re.error as error:
        raise InputError(f"--subject {subject!r}: not a regular expression ({error})") from None
    if pattern.groups != 1:
        raise InputError(f"--subject {subject!r}: {pattern.groups} groups, expected one, around the subject")
    return pattern


def _subject(pattern: re.Pattern[str] | None, name: str) -> str:
    if pattern is None:
        return name
    found = pattern.search(name)
    if not found or not found[1]:
        raise InputError(f"{name}: no subject in it by --subject {pattern.pattern!r}")
    return found[1]
