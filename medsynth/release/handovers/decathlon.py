"""The release as a list of the Medical Segmentation Decathlon (Antonelli et al. 2022), as MONAI loads it.

An entry's `label` is its label map where images were asked for by masks, else the number of its class; what has neither
is in a list of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from medsynth.artifacts.released import Released, rows_of
from medsynth.config.columns import MASK_FILE
from medsynth.errors import InputError
from medsynth.release.handovers.form import Contents, HandOver, values_of

FILE = "dataset.json"
LABELLED, UNLABELLED = "training", "unlabelled"
COLOURS = ("red", "green", "blue")


def write(contents: Contents) -> None:
    """Write the list; paths count from its own folder."""
    info, masks = contents.info, MASK_FILE in contents.table
    classes = info.condition_schema.of_column[info.label].choices(info.label)
    lists: dict[str, list[dict[str, Any]]] = {LABELLED: [], UNLABELLED: []}
    for row in rows_of(contents.table):
        entry: dict[str, Any] = {"image": row["file_name"]}
        if masks and row[MASK_FILE]:
            entry["label"] = row[MASK_FILE]
        elif not masks and row[info.label] in classes:
            entry["label"] = classes.index(row[info.label])
        entry |= {"sample_id": row["sample_id"], "conditions": values_of(contents.conditions, row)}
        lists[LABELLED if "label" in entry else UNLABELLED].append(entry)
    named = {0: "background", **{number: name for name, number in info.structures.items()}}
    channels = COLOURS if info.channels == len(COLOURS) else (info.modality,)
    whole = {
        "name": contents.title,
        "description": contents.disclaimer,
        "synthetic": True,
        "licence": contents.licence.text,
        "reference": contents.citation or "",
        "tensorImageSize": f"{len(info.size)}D",
        "modality": {str(number): name for number, name in enumerate(channels)},
        "target": MASK_FILE if masks else info.label,
        "labels": {str(number): name for number, name in (named.items() if masks else enumerate(classes))},
        "numTraining": len(lists[LABELLED]),
        "numTest": 0,
        **lists,
        "test": [],
    }
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (contents.folder / FILE).write_text(text, encoding="utf-8")


def check(released: Released) -> Iterator[str]:
    """Its entries are the rows of the table, and it says that they are synthetic."""
    try:
        whole = json.loads((released.folder / FILE).read_text(encoding="utf-8"))
        entries = {entry["sample_id"]: entry for entry in (*whole[LABELLED], *whole[UNLABELLED])}
        if whole.get("synthetic") is not True:
            yield f"{FILE}: does not say of itself that it is synthetic"
        rows = released.rows()
        yield from released.unlike(FILE, set(entries))
        for sample_id in sorted(rows.keys() & entries.keys()):
            yield from _unlike_row(entries[sample_id], rows[sample_id], released, whole)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{FILE}: is no such list ({type(error).__name__}: {error})") from None


def _unlike_row(entry: dict, row: dict, released: Released, whole: dict) -> Iterator[str]:
    where = f"{FILE}: {row['sample_id']}"
    if entry["image"] != row["file_name"]:
        yield f"{where}: image is {entry['image']}, metadata.csv has {row['file_name']}"
    named = whole["labels"].get(str(entry["label"]), entry["label"]) if "label" in entry else ""
    if named != row[whole["target"]]:
        yield f"{where}: label is {named}, metadata.csv has {row[whole['target']]}"
    columns = tuple(column for column in released.columns if column.name in entry["conditions"])
    for name, value in values_of(columns, row).items():
        if entry["conditions"][name] != value:
            yield f"{where}: {name} is {entry['conditions'][name]!r}, metadata.csv has {value!r}"


DECATHLON = HandOver(
    FILE,
    f"`{FILE}`: images, their label maps or classes, and conditions, for MONAI (`load_decathlon_datalist`).",
    write,
    check,
)
