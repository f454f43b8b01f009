"""Check a released folder by itself: checksums, tables, marks and counts. Nothing else of a run is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medsynth import registry
from medsynth.artifacts import outcomes
from medsynth.artifacts.released import MARK, Released
from medsynth.config import columns
from medsynth.disk import files, tables
from medsynth.errors import InputError
from medsynth.pages import gallery, volumes
from medsynth.pages.template import held
from medsynth.verify import described

SUMS = "SHA256SUMS"
TABLES = {
    "metadata.csv": ("file_name", "sample_id", "seed", *columns.VERDICT, *columns.DIGESTS, "synthetic"),
    "rejected.csv": ("sample_id", *columns.VERDICT, *columns.DIGESTS, "synthetic"),
    "real_split.csv": ("sha256", "split"),
    outcomes.FILE: outcomes.COLUMNS,
}
OTHERS = ("README.md", "generator.json", described.FILE, gallery.FILE)
SPLITS = {"train", "val", "test"}
DIGEST = re.compile(r"[0-9a-f]{64}")
MASK_MARK = "Not for diagnosis"


@dataclass(frozen=True)
class Release:
    """A released folder as it was read: its tables by name, and the digest of each of its files."""

    folder: Path
    tables: dict[str, pd.DataFrame]
    digests: dict[str, str]


def verify(folder: Path) -> list[str]:
    """What is wrong with a released folder, one line each; empty where nothing is.

    Raises:
        InputError: it is no released folder, or its tables cannot be read.
    """
    if not (folder / SUMS).is_file():
        raise InputError(f"{folder}: no {SUMS}, expected a folder that release wrote")
    listed = _read_sums(folder / SUMS)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SUMS}
    problems = [f"{name}: named in {SUMS}, and not there" for name in sorted(listed.keys() - present)]
    problems += [f"{name}: not named in {SUMS}" for name in sorted(present - listed.keys())]
    digests = {name: files.sha256(folder / name) for name in sorted(listed.keys() & present)}
    problems += [
        f"{name}: sha256 is {digest[:12]}, {SUMS} has {listed[name][:12]}"
        for name, digest in digests.items()
        if digest != listed[name]
    ]
    if missing := [name for name in (*TABLES, *OTHERS) if name not in present]:
        return [*problems, *(f"{name}: missing" for name in missing)]
    read = {name: tables.read(folder / name, required) for name, required in TABLES.items()}
    release = Release(folder, read, digests)
    for check in (_rows, _rejected, _real, _gates, _generator, _images, _card, _described, _pages):
        problems += check(release)
    return problems


def counts(folder: Path) -> str:
    """One line about a folder that was found whole."""
    kept, rejected = (len(tables.read(folder / name)) for name in ("metadata.csv", "rejected.csv"))
    return f"{folder}: whole, {kept} images kept, {rejected} rejected"


def _read_sums(path: Path) -> dict[str, str]:
    """File → digest, as `sha256sum -c` reads them."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if not DIGEST.fullmatch(digest) or not name or name.startswith("/") or ".." in Path(name).parts:
            raise InputError(f"{path}: line {number} is not a digest and a file below the folder")
        found[name] = digest
    return found


def _rows(release: Release) -> Iterator[str]:
    """Every row of metadata.csv is a kept sample, told apart, and marked."""
    table = release.tables["metadata.csv"]
    where = "metadata.csv: " + table["sample_id"]
    yield from where[table["sample_id"].duplicated()] + " stands twice"
    yield from where[table["verdict"] != "kept"] + " is not kept"
    yield from where[table["synthetic"] != "true"] + " is not marked as synthetic"
    for column in columns.DIGESTS:
        yield from where[~table[column].str.fullmatch(DIGEST)] + f": {column} is no SHA-256"
        if table[column].nunique() > 1:
            yield f"metadata.csv: {table[column].nunique()} values of {column}, expected one"


def _rejected(release: Release) -> Iterator[str]:
    """No rejected sample has an image, or what it takes to make it again."""
    table, kept = release.tables["rejected.csv"], release.tables["metadata.csv"]
    where = "rejected.csv: " + table["sample_id"]
    yield from where[table["sample_id"].isin(kept["sample_id"])] + " is in metadata.csv too"
    yield from where[table["sample_id"].duplicated()] + " stands twice"
    yield from where[table["reason"] == ""] + " has no reason"
    if "seed" in table:
        yield "rejected.csv: has the column seed, by which a rejected copy could be made again"


def _gates(release: Release) -> Iterator[str]:
    """Every gate has a result, and none stops the release."""
    table = release.tables[outcomes.FILE]
    where = f"{outcomes.FILE}: " + table["gate"] + ": result is " + table["result"]
    yield from where[~table["result"].isin(outcomes.RESULTS)] + f", expected {' or '.join(outcomes.RESULTS)}"
    yield from (f"{outcomes.FILE}: {line}" for line in outcomes.refusals(table))


def _real(release: Release) -> Iterator[str]:
    table = release.tables["real_split.csv"]
    where = "real_split.csv: " + table["sha256"]
    yield from where[~table["sha256"].str.fullmatch(DIGEST)] + " is no SHA-256"
    yield from where[~table["split"].isin(SPLITS)] + ": split is none of train, val and test"
    both = table.groupby("sha256")["split"].nunique()
    yield from (f"real_split.csv: {digest} is in more than one split" for digest in both.index[both > 1])


def _generator(release: Release) -> Iterator[str]:
    """The settings that rows name by their digest are those that lie there."""
    path = release.folder / "generator.json"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"generator.json: not JSON ({error})"
    named = set(release.tables["metadata.csv"]["config_sha256"])
    if named and named != {release.digests.get("generator.json")}:
        yield "generator.json: is not the file whose digest metadata.csv has as config_sha256"


def _images(release: Release) -> Iterator[str]:
    """Every row has its files, every file its row; each can be read and says of itself that it is synthetic."""
    table = release.tables["metadata.csv"]
    formats = {entry.load().suffix: entry.load() for entry in registry.RELEASE_FORMATS.values()}
    named = ["file_name", *(column for column in columns.FURTHER_FILES.values() if column in table)]
    owners: dict[str, str] = {}
    for column in (*named, *([columns.MASK_FILE] if columns.MASK_FILE in table else [])):
        for name, sample_id in zip(table[column], table["sample_id"], strict=True):
            if name in owners:
                yield f"{name}: named by {owners[name]} and by {sample_id}"
            elif name or column != columns.MASK_FILE:
                owners[name] = sample_id
    folders = ("images/", "masks/")
    there = {name for name in release.digests if name.startswith(folders)}
    yield from (f"{name}: no row of metadata.csv names it" for name in sorted(there - owners.keys()))
    yield from (f"{name}: named by {owners[name]}, and not there" for name in sorted(owners.keys() - there))
    shapes: dict[tuple[int, ...], str] = {}
    for name in sorted(there & owners.keys()):
        kind: Any = next((kind for suffix, kind in formats.items() if name.endswith(suffix)), None)
        if kind is None:
            yield f"{name}: no release format has this suffix, expected {' or '.join(formats)}"
            continue
        data = (release.folder / name).read_bytes()
        try:
            about, image = kind.format.about(data), kind.format.decode(data)
        except InputError as error:
            yield f"{name}: cannot be read ({error})"
            continue
        mark = MASK_MARK if name.startswith("masks/") else MARK
        if mark not in about:
            yield f"{name}: does not say of itself that it is synthetic, expected {mark!r} in its header"
        if owners[name] not in about:
            yield f"{name}: does not name its sample {owners[name]} in its header"
        shapes.setdefault(image.spatial_shape, name)
    if len(shapes) > 1:
        shown = ", ".join(f"{name} of {shape}" for shape, name in shapes.items())
        yield f"images of {len(shapes)} shapes, expected one: {shown}"


def _described(release: Release) -> Iterator[str]:
    """The table is as its schema describes it, and so is each further form of the dataset that is there."""
    table = release.tables["metadata.csv"]
    try:
        columns = described.read_columns(release.folder)
    except InputError as error:
        yield str(error)
        return
    if problems := list(described.unlike_schema(table, columns)):
        yield from problems  # forms are compared with a table that can be read as it is described
        return
    released = Released(release.folder, table, columns, release.digests)
    for entry in registry.HANDOVERS.values():
        form: Any = entry.load()
        try:
            yield from form.check(released) if released.below(form.place) else ()
        except InputError as error:
            yield str(error)


def _card(release: Release) -> Iterator[str]:
    text = (release.folder / "README.md").read_text(encoding="utf-8")
    for expected in ("- synthetic", "Not for diagnosis"):
        if expected not in text:
            yield f"README.md: does not say {expected!r}"
    count = len(release.tables["metadata.csv"])
    if f"{count} images of " not in text:
        yield f"README.md: counts other images than metadata.csv, which has {count}"


def _pages(release: Release) -> Iterator[str]:
    """Each page shows the samples of metadata.csv, and no training image."""
    for name in (gallery.FILE, *({volumes.FILE} & release.digests.keys())):
        try:
            shown, beside = gallery.contents(held(release.folder / name), name)
        except InputError as error:
            yield str(error).replace(f"{release.folder}/", "")
            continue
        if shown != release.tables["metadata.csv"]["sample_id"].tolist():
            yield f"{name}: shows other samples than metadata.csv has"
        if beside:
            yield f"{name}: shows training images beside the samples"
