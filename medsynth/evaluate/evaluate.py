"""The step `evaluate`: judge every synthetic image and measure the set, seeing no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import Store
from medsynth.config import EvaluateSettings
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.evaluate import figures
from medsynth.evaluate.gates import Gates, requested_probability
from medsynth.evaluate.metrics import MOST, Evidence, Side, measure
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.features import extract
from medsynth.judges.reader import read, reading_cells, train_reader


def evaluate(
    settings: EvaluateSettings,
    store: Store,
    images: Images,
    rows: pd.DataFrame,
    history: pd.DataFrame | None,
    out: Path,
) -> None:
    """Judge synthetic images and write metrics.csv, samples.csv and figures, whole or not at all.

    Args:
        store: the prepared real images, with train, val and test splits.
        images: uint16 (n, C, *spatial), scaled as in the store.
        rows: n rows: sample_id and the condition cells that were asked.
        history: the training history, for its curves; None leaves the figure out.
        out: folder of the results; replaced.
    Raises:
        InputError: a split is empty, or the images do not match the rows or the store.
    """
    evidence = gather(settings, store, images, rows)
    with folder_written_whole(out) as part:
        tables.write(part / "metrics.csv", measure(evidence))
        tables.write(part / "samples.csv", _verdict_table(evidence))
        _draw(part, evidence, store, images)
        if history is not None:
            figures.training_curves(part / "curves.png", history)


def gather(settings: EvaluateSettings, store: Store, images: Images, rows: pd.DataFrame) -> Evidence:
    """Train the reader, set the gates, and look at the test and the synthetic images."""
    info = store.info
    rows = rows.reset_index(drop=True)
    train, val, test = (store.split(name) for name in ("train", "val", "test"))
    for name, view in (("train", train), ("val", val), ("test", test)):
        if len(view) == 0:
            raise InputError(f"store {info.dataset}: no image in split {name}, evaluation needs train, val and test")
    expected = (len(rows), info.channels, *info.size)
    if images.shape != expected:
        raise InputError(f"store {info.dataset}: synthetic images are {images.shape}, expected {expected}")
    schema = info.condition_schema
    strata = {name: schema.fields[name].values for name in info.strata or (info.label,)}  # type: ignore[attr-defined]
    classes = strata[info.label]
    reader = train_reader(
        (train.images, schema.encode(train.samples, train.masks)),
        (val.images, schema.encode(val.samples, val.masks)),
        schema,
        settings.evaluation.predictor_epochs,
        settings.seed,
    )
    index = TrainingIndex(train.images)
    gates = Gates.from_validation(
        index.nearest(val.images)[0],
        val.samples[info.label].to_numpy(dtype=str),
        read(reader, val.images).probabilities[info.label],
        classes,
        settings.evaluation,
    )
    names = train.samples["image"].to_numpy(dtype=str)

    def side(pictures: Images, table: pd.DataFrame, masks: np.ndarray | None) -> Side:
        reading, (similarity, nearest) = read(reader, pictures), index.nearest(pictures)
        asked = table[info.label].to_numpy(dtype=str)
        probability = requested_probability(asked, reading.probabilities[info.label], classes)
        verdicts = gates.judge(asked, reading.values[info.label].to_numpy(dtype=str), probability, similarity)
        return Side(table, extract(pictures), reading, similarity, nearest, names[nearest], verdicts, masks)

    chosen = np.random.default_rng(settings.seed).permutation(len(train))[:MOST]
    return Evidence(
        schema,
        info.label,
        strata,
        tuple(images.shape[2:]),
        side(test.images, test.samples, test.masks),
        side(images, rows, store.masks_asked(rows)),
        train.samples.iloc[chosen],
        extract(train.images, chosen),
        gates,
        settings,
    )


def _verdict_table(evidence: Evidence) -> pd.DataFrame:
    """samples.csv: what was read from each sample, its nearest training image, and the verdict."""
    side = evidence.synthetic
    table = side.table[["sample_id"]].join(reading_cells(evidence.schema, side.table, side.reading))
    return table.assign(nearest_similarity=side.similarity, nearest_image=side.nearest_image).join(side.verdicts)


def _draw(folder: Path, evidence: Evidence, store: Store, images: Images) -> None:
    sides = {"real": evidence.test, "synthetic": evidence.synthetic}
    real, synthetic = (
        (pictures, side.table[evidence.label].to_numpy())
        for pictures, side in zip((store.split("test").images, images), sides.values(), strict=True)
    )
    figures.contact_sheet(
        folder / "contact_sheet.png", store.info.dataset, evidence.strata[evidence.label], real, synthetic
    )
    side, limit = evidence.synthetic, evidence.gates.similarity_limit
    closest = np.argsort(side.similarity)[::-1][: figures.COLUMNS]
    nearest = store.split("train").images[side.nearest[closest]]
    figures.nearest_neighbours(folder / "nearest.png", images[closest], nearest, side.similarity[closest], limit)
    readings = {
        name: side.table.reindex(columns=evidence.schema.columns, fill_value="")
        .add_prefix("asked_")
        .join(reading_cells(evidence.schema, side.table, side.reading))
        for name, side in sides.items()
    }
    numbers = side.reading.values.select_dtypes("number").columns.tolist()
    figures.adherence(folder / "adherence.png", evidence.label, evidence.strata[evidence.label], readings, numbers)
