"""The step `vary`: the same synthetic subject along one condition, with what the reader reads of each frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store, to_intensity
from medsynth.artifacts.tuned import Tuned
from medsynth.conditions.kind import Reading
from medsynth.conditions.regions import surroundings
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import VarySettings
from medsynth.config.columns import LIKENESS, PREDICTED
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.images.drawing import disclaimer
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.reader import read, reading_cells, restored
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model, refuse_other_store
from medsynth.vary import anchors, figures
from medsynth.vary.frames import frames_of

log = logging.getLogger(__name__)

RATIO = "change_outside_over_inside"
UNREAD = " (reader inadequate)"


def vary(
    settings: VarySettings,
    store: Store,
    reference: Reference,
    planned: pd.DataFrame,
    weights: Path,
    tuned: Path,
    out: Path,
) -> None:
    """Write the strips of every subject along every condition: a sheet and an animation each, and two tables of all.

    `vary.csv` has a row for each frame: what was asked and read, and the mean absolute change to the first frame, as a
    share of the grey range, inside and outside of the surroundings of what the frames place (lesions); `held_from` is
    the frame whose image it has outside of these, empty where it was drawn whole (`anchors`). `strips.csv` has the
    statistics of the moved condition for each strip, and the ratio of both changes. No frame is rejected:
    `nearest_similarity` and that of parts say how like a training image each is; `educate` has the limits of `evaluate`
    and leaves strips out.

    Args:
        planned: the rows of the shards; tuned: sampler.json of these weights.
        out: folder of the results; replaced.
    Raises:
        InputError: the weights or the sampler do not belong to the store, or the settings ask what cannot be.
    """
    schema, training = store.info.condition_schema, store.split("train").samples
    strips = [
        frames_of(schema, planned, training, along, settings.held, subject)
        for subject in settings.subjects
        for along in settings.along
    ]
    model, info = load_model(weights, choose_device())
    refuse_other_store(weights, info.store, store.info)
    sampler = Tuned.read(tuned).sampler_of(info.weights_sha256, info.settings.model.family, tuned)
    rows = pd.concat(strips, ignore_index=True)
    masks = store.masks_asked(rows)
    images, held_from = anchors.draw(model, schema, rows, sampler, masks, settings.held_outside)
    readers = restored(reference.readers, reference.trunk, schema, (len(images), *store.info.image_shape))
    reading = read(readers, images)
    frames = _frame_table(schema, rows, reading).assign(
        held_from=[str(frame) if frame >= 0 else "" for frame in held_from],
        **_changes(schema, rows, images),
        model_sha256=info.weights_sha256,
    )
    nearest = TrainingIndex.from_arrays(reference.index).nearest(images).by_name
    frames = frames.assign(**{column: nearest[name] for name, column in LIKENESS.items()})
    measured = pd.concat([_strip_table(schema, strip, masks, reading, frames) for strip in _by_strip(rows)])
    unread = {group for group, _ in reference.inadequate("val", "test")}
    with folder_written_whole(out) as folder:
        tables.write(folder / "vary.csv", frames)
        tables.write(folder / "strips.csv", measured)
        for strip in _by_strip(frames):
            _draw(folder, schema, strip, measured, images[strip.index], unread, store)
    _say(measured)


def _by_strip(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (strip for _, strip in table.groupby(["subject", "along"], sort=False))


def _frame_table(schema: ConditionSchema, rows: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    predicted = reading_cells(schema, rows, reading)
    of_moved = [predicted[PREDICTED + column][row] for row, column in enumerate(rows["along"])]
    asked = rows[list(schema.columns)].add_prefix("asked_")
    return rows[["subject", "along", "frame", "asked"]].assign(read=of_moved).join(asked).join(predicted)


def _changes(schema: ConditionSchema, rows: pd.DataFrame, images: np.ndarray) -> dict[str, np.ndarray]:
    """(n,) mean absolute change to the strip's first frame, as a share of the grey range: inside and outside of what
    lies in or about a thing that any frame of the strip places; NaN inside where none places any."""
    found = {name: np.full(len(rows), np.nan) for name in ("change_inside", "change_outside")}
    for strip in _by_strip(rows):
        about = surroundings(schema, strip, images.shape[2:]).any(0)
        pixels = to_intensity(images[strip.index]) / 2
        change = np.abs(pixels - pixels[:1]).mean(1)
        for name, where in (("change_inside", about), ("change_outside", ~about)):
            if where.any():
                found[name][strip.index] = change[:, where].mean(1)
    return found


def _strip_table(
    schema: ConditionSchema, strip: pd.DataFrame, masks: np.ndarray | None, reading: Reading, frames: pd.DataFrame
) -> pd.DataFrame:
    """The statistics of the moved condition over the frames of one strip, and where the images change."""
    index, column = strip.index.to_numpy(), strip["along"].iloc[0]
    kind = schema.of_column[column]
    own = Reading(
        reading.values.iloc[index].reset_index(drop=True),
        {name: shares[index] for name, shares in reading.probabilities.items()},
    )
    shape = () if masks is None else masks.shape[1:]
    table = strip.reset_index(drop=True)
    arrays = kind.asked_and_read(table, None if masks is None else masks[index], own, shape)
    values = {statistic.name: statistic.of(*arrays) for statistic in kind.statistics}
    inside, outside = (frames.loc[index[1:], name].mean() for name in ("change_inside", "change_outside"))
    values |= {"change_inside": inside, "change_outside": outside, RATIO: outside / inside if inside > 0 else np.nan}
    return pd.DataFrame({"statistic": list(values), "value": list(values.values())}).assign(
        subject=strip["subject"].iloc[0], along=column
    )[["subject", "along", "statistic", "value"]]


def _draw(
    folder: Path,
    schema: ConditionSchema,
    strip: pd.DataFrame,
    measured: pd.DataFrame,
    images: np.ndarray,
    unread: set[str],
    store: Store,
) -> None:
    subject, column = strip[["subject", "along"]].iloc[0]
    doubt = UNREAD if schema.of_column[column].name in unread else ""
    read_as = [f"read {seen}{doubt}" for seen in strip["read"]]
    held = [
        f"{name} {strip[f'asked_{name}'].iloc[0] or 'open'}"
        for name in schema.columns
        if strip[f"asked_{name}"].nunique() == 1
    ]
    of_strip = measured[(measured["subject"] == subject) & (measured["along"] == column)].dropna()
    numbers = [f"{name} {value:.3g}" for name, value in of_strip[["statistic", "value"]].itertuples(index=False)]
    notes = [f"The same in all frames: noise {subject}, {', '.join(held)}.", f"{'; '.join(numbers)}{doubt}."]
    if anchored := next((frame for frame in strip["held_from"] if frame), ""):
        notes.append(f"Held by construction: outside of the lesions' surroundings all frames are frame {anchored}.")
    title, about = f"{store.info.dataset}, subject {subject}: {column}", disclaimer(store.info.simulated)
    name = f"{subject}-{column}"
    asked, of_column = ([f"{word} {cell}" for cell in strip["asked"]] for word in ("asked", column))
    figures.sheet(folder / f"{name}.png", title, images, list(zip(asked, read_as, strict=True)), notes, about)
    figures.animation(folder / f"{name}.gif", images, list(zip(of_column, read_as, strict=True)), about)


def _say(measured: pd.DataFrame) -> None:
    for column, of in measured.dropna().groupby("along", sort=False):
        means = of.groupby("statistic", sort=False)["value"].mean()
        said = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
        log.info("%s, mean of %d subjects: %s", column, of["subject"].nunique(), said)
