"""The configuration that is proposed: its values, and the comments that say why."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from medsynth import registry
from medsynth.config import SPLITS, Split
from medsynth.images.modalities import MODALITIES
from medsynth.init.columns import MISSING, Condition, LeftOut, condition_name, words
from medsynth.init.document import printable
from medsynth.init.images import Survey
from medsynth.init.labels import Label
from medsynth.init.roles import Roles

FAMILY = "diffusion"
SAYS_NOTHING = {
    "samples",
    "sample",
    "data",
    "dataset",
    "labels",
    "table",
    "index",
    "metadata",
    "train",
    "images",
    "csv",
}
SIDES = {2: (64, 32, 16), 3: (32, 16)}  # the largest is what two cores learn in minutes
LARGEST_ENLARGEMENT = 1.4
EQUAL_SIDES = 0.02
CROP_LOSES = 0.25  # of the longer side, on average
PIXELS_PER_SECOND = {2: 620_000, 3: 1_100_000}  # trained on two cores, at 64 x 64 and 32 x 32 x 32
IMAGES = {2: 36_000, 3: 9_000}  # seen in training
FEW_IMAGES, SMALL_SPLIT = 100, {"train": 0.5, "val": 0.2, "test": 0.3}
BALANCED = 0.8  # the smallest class as a share of the largest
BALANCE_FROM, BALANCE_TO = 50, 2_000  # samples that balancing asks for
PER_CLASS, ALL_CLASSES = 100, 1_000
LEAST_OF_A_CLASS = 20
MOST_SAMPLES = 2  # for each training image, unless a class would have fewer than the least
PER_SHARD = 128
LICENCE = "not known: ask the owner of the images before you hand this on"
LICENCE_NOTE = (
    "The card prints it. State what the owner of the images allows: an SPDX identifier (CC-BY-4.0), a URL, or words."
)
FIRST_LOOK = (
    "A first look ends in images and a card that says what they lack. For a dataset that others train on, leave this "
    "out: a gate that fails then stops the release."
)
BAD_FROM, BAD_SPARE = 0.03, 0.02  # shares of the rows


@dataclass(frozen=True)
class Bad:
    """About how many rows cannot be used, and the most common reasons."""

    count: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """All that was found out about a table; `build` makes a configuration of it."""

    table: Path
    cells: Mapping[str, Sequence[str]]
    survey: Survey
    roles: Roles
    modality: str
    modality_from: str
    conditions: Sequence[Condition]
    left_out: Sequence[LeftOut]
    label: Label

    model: ClassVar[str] = "diffusion"

    @property
    def dataset(self) -> str:
        """A name from the table's name, or its folder's where that says nothing."""
        for text in (self.table.stem, self.table.resolve().parent.name):
            name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
            if name[:1].isalpha() and not set(words(text)) <= SAYS_NOTHING:
                return name
        return "images"

    def build(self, bad: Bad) -> tuple[dict[str, Any], dict[tuple[str, ...], list[str]]]:
        """The configuration's values, and the notes on its keys."""
        here = ("datasets", self.dataset)
        size, size_notes = self._size()
        fit, fit_note = self._fit()
        request, plan_notes = self._plan()
        shared, source_notes = self._source(bad)
        fields = self._fields()
        dataset: dict[str, Any] = {
            "source": shared,
            "modality": self.modality,
            "size": size,
            "fit": fit,
            "conditions": {field.name: field.settings for field in fields},
            "label": self.label.condition.name,
        }
        masks = condition_name("structures", dataset["conditions"])
        if self.roles.structures:
            dataset["conditions"][masks] = {"kind": "mask"}
        dataset |= self._split()
        samples = sum(request.get("counts", {}).values()) or self._lacking()
        dataset["plan"] = {"request": request, "shards": max(1, math.ceil(samples / PER_SHARD))}
        dataset["licence"] = LICENCE
        values = {
            "seed": 1,
            "data_root": str(self.table.resolve().parent),
            "datasets": {self.dataset: dataset},
            "models": {self.model: {"family": FAMILY, "training": {"images": self._images(size)}}},
            "gates": {"enforce": False},
        }
        notes: dict[tuple[str, ...], list[str]] = {
            (): [
                f"Written by `medsynth init` from {printable(self.table.name)}: {len(self._column()):,} rows. Run it "
                "with .venv/bin/snakemake --cores 2 --configfile THIS_FILE; with --until prepare the table is checked "
                "alone.",
                "Every key is explained in config/README.md.",
            ],
            ("data_root",): ["The folder that the table is in; --config data_root=FOLDER says another."],
            (*here, "source"): source_notes,
            (*here, "modality"): [f"Guessed from {self.modality_from}: check."]
            if self.modality_from != "--modality"
            else [],
            (*here, "size"): size_notes,
            (*here, "fit"): [fit_note],
            (*here, "conditions"): [f"{printable(left.column)}: {left.reason}; left out." for left in self.left_out],
            **{(*here, "conditions", field.name): list(field.notes) for field in fields},
            (*here, "conditions", masks): [self.roles.notes.get("mask", "")],
            (*here, "label"): list(self.label.notes),
            (*here, "split"): self._split_notes(),
            (*here, "plan"): plan_notes,
            (*here, "licence"): [LICENCE_NOTE],
            ("models", self.model): self._budget_notes(size),
            ("gates",): [FIRST_LOOK],
        }
        return values, {path: [note for note in found if note] for path, found in notes.items() if any(found)}

    def _column(self) -> Sequence[str]:
        return self.cells[self.survey.column]

    def _fields(self) -> list[Condition]:
        """The conditions, the label's own in the place of its column or, where bins make it, last."""
        label = self.label.condition
        named = [label if field.name == label.name else field for field in self.conditions]
        return named if label in named else [*named, label]

    def _source(self, bad: Bad) -> tuple[dict[str, Any], list[str]]:
        columns = dict(self.roles.columns)
        columns |= {field.name: field.column for field in self.conditions if field.name != field.column}
        missing = sorted(
            {cell for field in self.conditions for cell in set(self.cells[field.column]) if cell in MISSING}
        )
        source: dict[str, Any] = {"kind": "table", "table": self.table.name}
        source |= {"columns": columns} if columns else {}
        source |= {"missing": missing} if missing else {}
        source |= {"bins": {self.label.condition.name: self.label.bins}} if self.label.bins else {}
        source |= {"allow_outside_root": True} if self.survey.outside else {}
        notes = [self.roles.notes["image"], self.roles.notes["subject_id"], self.roles.notes.get("split", "")]
        if self.survey.outside:
            notes.append("Some images lie outside the table's folder.")
        if MODALITIES[self.modality].intensity == "window" and all(look.unitless for look in self.survey.looks):
            source["intensity"] = "windowed"
            notes.append("The files hold grey levels, no physical unit: they are taken as windowed already.")
        if MODALITIES[self.modality].channels == 1 and (coloured := self.survey.coloured):
            source["colour"] = "luma"
            notes.append(f"{coloured} of {len(self.survey.looks)} images looked at are in colour: brightness is taken.")
        if bad.count:
            notes.append(f"About {bad.count:,} rows cannot be used and go to quarantine.csv: {'; '.join(bad.reasons)}.")
        if bad.count > BAD_FROM * len(self._column()):
            share = bad.count / len(self._column())
            source["max_bad_fraction"] = min(1.0, math.ceil(100 * (1.5 * share + BAD_SPARE)) / 100)
        return source, notes

    def _size(self) -> tuple[list[int], list[str]]:
        """A square or a cube, not much larger than the images, that the model takes."""
        dims = self.survey.dims
        looks = self.survey.looks
        shorter = statistics.median(min(look.shape) for look in looks)
        settings: Any = registry.FAMILIES[FAMILY].load_settings()
        model = settings(family=FAMILY)
        able = [side for side in SIDES[dims] if model.misfit([side] * dims) is None]
        side = next((side for side in able if side <= LARGEST_ENLARGEMENT * shorter), able[-1])
        shape = statistics.mode(look.shape for look in looks)
        axes, more = (("pixels", 4), ("voxels", 8))[dims - 2]
        return [side] * dims, [
            f"In {axes}; most images are {' x '.join(map(str, shape))}. Twice the side costs {more} times as much in "
            f"training; multiples of {_step(model)} go with the model below, powers of two are the fastest."
        ]

    def _fit(self) -> tuple[str, str]:
        lost = [1 - min(look.extent) / max(look.extent) for look in self.survey.looks]
        mean = statistics.mean(lost)
        if max(lost) < EQUAL_SIDES:
            return "crop", "The images have equal sides: next to nothing is cropped."
        said = f"{mean:.0%} off the longer side on average, {max(lost):.0%} at most"
        if mean <= CROP_LOSES:
            return "crop", f"Cropping cuts {said}; pad would keep all of it."
        return "pad", f"Cropping would cut {said}."

    def _split(self) -> dict[str, Any]:
        few = len(set(self.cells[self.roles.subject])) < FEW_IMAGES
        return {"split": SMALL_SPLIT} if few and not self.roles.split else {}

    def _split_notes(self) -> list[str]:
        few = "Shares of the patients. With so few, a larger part is needed to judge by: do not expect good images."
        return [few] if self._split() else []

    def _train_share(self) -> float:
        shares = self._split().get("split", Split().model_dump())
        return float(shares[SPLITS[0]])

    def _lacking(self) -> int:
        """Samples that it takes to make all classes as large as the largest."""
        counts = self.label.condition.counts.values()
        return round(self._train_share() * sum(max(counts) - count for count in counts))

    def _plan(self) -> tuple[dict[str, Any], list[str]]:
        counts, column = self.label.condition.counts, self.label.condition.name
        lacking = self._lacking()
        if min(counts.values()) < BALANCED * max(counts.values()) and BALANCE_FROM <= lacking <= BALANCE_TO:
            return {"kind": "balance", "column": column}, [
                f"About {lacking:,} samples, so that every class has as many training images as the largest. "
                "Rejected samples are not replaced."
            ]
        learnt = round(self._train_share() * sum(counts.values()))
        most = min(ALL_CLASSES, MOST_SAMPLES * learnt) // len(counts)
        each = max(LEAST_OF_A_CLASS, min(PER_CLASS, most))
        values = self.label.condition.settings["values"]
        notes = ["As many samples of each class. Rejected samples are not replaced."]
        if learnt < LEAST_OF_A_CLASS * len(values):
            notes.append(f"With about {learnt} images to learn from, expect many of them to be rejected as copies.")
        return {"kind": "per_class", "column": column, "counts": dict.fromkeys(values, each)}, notes

    def _images(self, size: Sequence[int]) -> int:
        few = self._train_share() * len(self._column()) < 2 * FEW_IMAGES
        return IMAGES[len(size)] // (2 if few else 1)

    def _budget_notes(self, size: Sequence[int]) -> list[str]:
        seconds = self._images(size) * math.prod(size) / PIXELS_PER_SECOND[len(size)]
        shortest = max(1, round(seconds / 60))
        return [
            f"The budget, in images seen: on two cores {shortest} to {3 * shortest} minutes by their kind, for a first "
            "look, and about half as long again for what judges the images. Ten times as many make better images; take "
            "a GPU for that."
        ]


def _step(model: Any) -> int:
    """The smallest side that the model takes, and every multiple of it."""
    return next(side for side in range(1, 1025) if model.misfit([side, side]) is None)
