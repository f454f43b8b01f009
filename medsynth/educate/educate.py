"""The step `educate`: graded cases for teaching, their answers apart, and strips along conditions."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from medsynth.artifacts.shards import Images, with_verdicts
from medsynth.artifacts.store import Store
from medsynth.conditions.kind import ABSENT
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import EducateSettings, Education
from medsynth.config.columns import LIKENESS, PREDICTED
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.images.drawing import MARK, PAPER, SYNTHETIC, disclaimer, font, marked_png, to_tile

log = logging.getLogger(__name__)

SIDE = 512  # pixels of a case
LEVELS = 3  # of a number's range
STRIPS = (".png", ".gif")
PAGE = """# Cases for teaching: {dataset}

{disclaimer}
They show what the generator was asked for, not how a disease looks.

- `cases/`: {count} images in random order, named without their answer.
- `answers.csv`: for each case what was asked (`asked_`) and what a reader network read (`predicted_`). Where
  `misread_check` is not `on`, nothing checked that the image shows what was asked.
"""
OF_STRIPS = """- `strips/`: {count} strips of one subject each, one condition moved. They show their answers.{left_out}
"""
LEFT_OUT = " Left out: {count}, with a frame as like a training image as a copy is."


def educate(
    settings: EducateSettings,
    store: Store,
    images: Images,
    rows: pd.DataFrame,
    verdicts: pd.DataFrame,
    strips: Path | None,
    limits: Mapping[str, float],
    out: Path,
) -> None:
    """Write cases/, answers.csv, README.md and, where there are some, strips/; of kept samples alone.

    Args:
        images: uint16 (n, C, *spatial) of the n rows of all shards; verdicts: samples.csv of evaluate.
        strips: folder that vary wrote; a strip is left out if any frame of it is a copy.
        limits: whole and parts → the likeness from which on an image is a copy of a training image.
        out: folder of the results; replaced.
    Raises:
        InputError: the verdicts are not of these samples, or no sample was kept.
    """
    table = with_verdicts(rows, verdicts)
    schema = store.info.condition_schema
    rng = np.random.default_rng(np.random.SeedSequence((settings.seed, 3)))
    chosen = choose(settings.education, schema, store.info.label, table, rng)
    shown, left_out = (None, 0) if strips is None else _screened(strips, limits)
    names = [f"case_{number:03d}" for number in range(1, len(chosen) + 1)]
    about = disclaimer(store.info.simulated)
    with folder_written_whole(out) as folder:
        (folder / "cases").mkdir()
        for name, place in zip(names, chosen, strict=True):
            marked_png(_page(images[int(place)], name), folder / "cases" / f"{name}.png", about)
        tables.write(folder / "answers.csv", _answers(schema, table.iloc[chosen], names))
        text = PAGE.format(dataset=store.info.dataset, disclaimer=about, count=len(names))
        if strips is not None and shown is not None:
            (folder / "strips").mkdir()
            for name in (f"{strip}{suffix}" for strip in shown for suffix in STRIPS):
                shutil.copyfile(strips / name, folder / "strips" / name)
            said = LEFT_OUT.format(count=left_out) if left_out else ""
            text += OF_STRIPS.format(count=len(shown), left_out=said)
        (folder / "README.md").write_text(text, encoding="utf-8")


def _screened(strips: Path, limits: Mapping[str, float]) -> tuple[list[str], int]:
    """The strips that can be shown, and how many cannot: a frame of them is at or above a limit."""
    frames = tables.read(strips / "vary.csv", ("subject", "along", *LIKENESS.values()))
    copied = np.logical_or.reduce([frames[column].astype(float) >= limits[name] for name, column in LIKENESS.items()])
    of_strip = pd.Series(copied).groupby(frames["subject"] + "-" + frames["along"], sort=False).any()
    if of_strip.any():
        log.warning(
            "%d of %d strips are left out, %s: a frame is as like a training image as a copy is",
            *(of_strip.sum(), len(of_strip), ", ".join(of_strip.index[of_strip])),
        )
    return list(of_strip.index[~of_strip]), int(of_strip.sum())


def choose(
    education: Education, schema: ConditionSchema, label: str, table: pd.DataFrame, rng: np.random.Generator
) -> np.ndarray:
    """Positions in the table of the cases, in the random order of their numbers: so many kept samples of each class,
    or of each level of it. Where fewer were kept, all of them, and the log says so.

    Raises:
        InputError: none was kept.
    """
    kept = (table["verdict"] == "kept").to_numpy()
    found = []
    for name, wanted in _groups(education, schema, label, table):
        able = np.flatnonzero(kept & wanted)
        if 0 < len(able) < education.cases or (not len(able) and wanted.any()):
            log.warning("%s: %d of %d cases, no more samples of it were kept", name, len(able), education.cases)
        found.append(rng.permutation(able)[: education.cases])
    chosen = rng.permutation(np.concatenate(found))
    if not len(chosen):
        raise InputError(f"educate: none of {len(table)} samples was kept and has a {label}, no case can be made")
    return chosen


def _groups(
    education: Education, schema: ConditionSchema, label: str, table: pd.DataFrame
) -> Iterator[tuple[str, np.ndarray]]:
    """Each class, or each level of it that was asked for, and which rows it has."""
    levels = _levels(education.graded, schema, table) if education.graded else {}
    for value in schema.fields[label].values:  # type: ignore[attr-defined]  # the label is categorical
        of_class = (table[label] == value).to_numpy()
        graded = {name: rows for name, rows in levels.items() if (of_class & rows).any()}
        if graded:
            for name, rows in graded.items():
                yield f"{label} {value}, {name}", of_class & rows
        else:
            yield f"{label} {value}", of_class


def _levels(column: str, schema: ConditionSchema, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The grades of an ordinal condition, or LEVELS equal parts of a number's range, and which rows have each."""
    if choices := schema.of_column[column].choices(column):
        return {f"{column} {grade}": (table[column] == grade).to_numpy() for grade in choices}
    numbers = table[column].where(~table[column].isin(ABSENT)).astype(float).to_numpy()
    edges = np.linspace(*schema.fields[column].range, LEVELS + 1)  # type: ignore[attr-defined, call-overload]  # a number
    part = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, LEVELS - 1)
    return {
        f"{column} {edges[level]:.3g} to {edges[level + 1]:.3g}": (part == level) & np.isfinite(numbers)
        for level in range(LEVELS)
    }


def _answers(schema: ConditionSchema, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    predicted = [column for column in table if str(column).startswith(PREDICTED)]
    asked = table[[column for column in schema.columns if column in table]].add_prefix("asked_")
    answers = pd.concat([table[["sample_id", "misread_check"]], asked, table[predicted]], axis=1)
    answers.insert(0, "case", names)
    return answers


def _page(image: np.ndarray, name: str) -> Image.Image:
    """A case with its number and the mark below it, so that both stay when the picture is copied."""
    page = Image.new("RGB", (SIDE, SIDE + 32), SYNTHETIC)
    page.paste(to_tile(image, SIDE), (0, 0))
    draw = ImageDraw.Draw(page)
    draw.text((10, SIDE + 6), name.replace("_", " "), PAPER, font(17))
    draw.text((SIDE - 10, SIDE + 6), MARK, PAPER, font(17), anchor="ra")
    return page
