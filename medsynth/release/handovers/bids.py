"""The release as a BIDS derivative dataset: MR volumes by participant, each beside a sidecar with its conditions.

Source: Brain Imaging Data Structure 1.10 (Gorgolewski et al. 2016), "Derivatives" and "Magnetic Resonance Imaging".
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medsynth import __version__
from medsynth.artifacts.released import MARK, Released
from medsynth.config.columns import NOT_APPLICABLE_TEXT
from medsynth.config.handovers import SUFFIXES, contrast_column
from medsynth.disk.tables import harmless
from medsynth.errors import InputError
from medsynth.release.formats import NIFTI
from medsynth.release.handovers.form import Contents, HandOver, values_of

log = logging.getLogger(__name__)

PLACE = "bids"
DESCRIPTION, PARTICIPANTS, LEFT_OUT = "dataset_description.json", "participants.tsv", "LeftOut"
VERSION = "1.10.0"


def participant_of(sample_id: str) -> str:
    """The label of a sample's participant: letters and digits alone."""
    return f"sub-SYN{sample_id.rpartition('-')[2]}"


def write(contents: Contents) -> None:
    """Write the volumes whose contrast is known, each as a participant's."""
    root = contents.folder / PLACE
    root.mkdir()
    column = contrast_column(contents.info.condition_schema.fields)
    left_out, participants = [], []
    for row, image in contents.samples():
        suffix = SUFFIXES.get(row[column].lower()) if column else contents.contrast
        if suffix is None:
            left_out.append(row["sample_id"])
            continue
        participant = participant_of(row["sample_id"])
        stem = root / participant / "anat" / f"{participant}_{suffix}"
        stem.parent.mkdir(parents=True)
        stem.with_name(f"{stem.name}.nii.gz").write_bytes(contents.encoder.encode(NIFTI, image, row["sample_id"]))
        sidecar = {
            "Description": contents.disclaimer,
            "Synthetic": True,
            "SampleID": row["sample_id"],
            "Conditions": values_of(contents.conditions, row),
        }
        _write_json(stem.with_name(f"{stem.name}.json"), sidecar)
        participants.append({"participant_id": participant, **{name: row[name] for name in _columns(contents)}})
    if left_out:
        log.warning("%d samples state no %s: they are not in %s/", len(left_out), column, PLACE)
    _write_participants(contents, root, participants)
    made_by = contents.made_by
    generated = {
        "Name": "medsynth",
        "Version": __version__,
        "Description": f"{made_by.family} model, weights sha256 {made_by.generator}, settings sha256 {made_by.config}",
    }
    whole = {
        "Name": contents.title,
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "License": contents.licence.text,
        "GeneratedBy": [generated],
        **({"ReferencesAndLinks": [contents.citation]} if contents.citation else {}),
        "Synthetic": True,
        LEFT_OUT: left_out,
    }
    _write_json(root / DESCRIPTION, whole)
    (root / "README").write_text(f"{contents.title}\n\n{contents.disclaimer}\n", encoding="utf-8")


def _columns(contents: Contents) -> list[str]:
    return ["sample_id", *(column.name for column in contents.conditions)]


def _write_participants(contents: Contents, root: Path, participants: list[dict[str, str]]) -> None:
    """The table of participants, and what its columns hold."""
    header = ["participant_id", *_columns(contents)]
    cells = [[harmless(" ".join(row[name].split())) or NOT_APPLICABLE_TEXT for name in header] for row in participants]
    text = "".join("\t".join(line) + "\n" for line in (header, *cells))
    (root / PARTICIPANTS).write_text(text, encoding="utf-8")
    held = {column.name: column for column in contents.columns}
    described = {
        name: {"Description": held[name].description, **({"Units": held[name].unit} if held[name].unit else {})}
        for name in _columns(contents)
    }
    _write_json(root / "participants.json", described)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


def check(released: Released) -> Iterator[str]:
    """Each sample is a participant's or said to be left out, with a volume and a sidecar that say what they are."""
    root = released.folder / PLACE
    try:
        whole = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
        if whole.get("Synthetic") is not True or not whole["GeneratedBy"][0]["Name"]:
            yield f"{PLACE}/{DESCRIPTION}: does not say of itself that it is synthetic, and by what it was made"
        lines = (root / PARTICIPANTS).read_text(encoding="utf-8").splitlines()
        listed = [line.split("\t") for line in lines[1:]]
        samples = {sample_id: participant for participant, sample_id, *_ in listed}
        yield from released.unlike(f"{PLACE}/{PARTICIPANTS}", {*samples, *whole[LEFT_OUT]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{PLACE}/: is no BIDS dataset of a release ({type(error).__name__}: {error})") from None
    rows = released.rows()
    for sample_id, participant in samples.items():
        files = released.below(f"{PLACE}/{participant}")
        volumes = [name for name in files if name.endswith(NIFTI.suffix)]
        if len(files) != 2 or len(volumes) != 1:
            yield f"{PLACE}/{participant}: has {len(files)} files, expected a volume and its sidecar"
        elif sample_id in rows:
            yield from _unlike_row(released, volumes[0], rows[sample_id])


def _unlike_row(released: Released, volume: str, row: dict[str, str]) -> Iterator[str]:
    about = NIFTI.format.about
    assert about is not None
    text = about((released.folder / volume).read_bytes())
    if MARK not in text or row["sample_id"] not in text:
        yield f"{volume}: does not say in its header that it is synthetic, and which sample it is"
    same = released.digests.get(f"images/{row['sample_id']}{NIFTI.suffix}")
    if same is not None and same != released.digests[volume]:
        yield f"{volume}: is not the volume of images/"
    name = volume.removesuffix(NIFTI.suffix) + ".json"
    try:
        sidecar = json.loads((released.folder / name).read_text(encoding="utf-8"))
        asked = tuple(column for column in released.columns if column.name in sidecar["Conditions"])
        if sidecar["Synthetic"] is not True or sidecar["Conditions"] != values_of(asked, row):
            yield f"{name}: is not marked as synthetic with the conditions of metadata.csv"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: is no sidecar of a release ({type(error).__name__})") from None


BIDS = HandOver(
    PLACE,
    f"`{PLACE}/`: a BIDS derivative dataset of the MR volumes, with participants.tsv and sidecars.",
    write,
    check,
)
