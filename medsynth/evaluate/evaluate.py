"""The step `evaluate`: judge every synthetic image and measure the set, seeing no model."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth import registry
from medsynth.artifacts.measured import as_table
from medsynth.artifacts.reconstructions import Reconstructions
from medsynth.artifacts.reference import Reference
from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import Store, to_intensity, typical_spacing_mm
from medsynth.conditions.requests import lacking
from medsynth.config import EvaluateSettings
from medsynth.config.columns import COPY_LIMITS
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.evaluate import figures
from medsynth.evaluate.checks import Checks, beyond, requested_probability
from medsynth.evaluate.copy_limits import CopyLimits
from medsynth.evaluate.leaks import leaks
from medsynth.evaluate.metrics.metric import Compared, Evidence, Metric, Side
from medsynth.evaluate.volume_sheet import Volumes, volume_sheet
from medsynth.judges.batches import in_blocks
from medsynth.judges.copies import Likeness, TrainingIndex
from medsynth.judges.features import extract
from medsynth.judges.reader import read, reading_cells, restored
from medsynth.judges.texture import spectrum_db
from medsynth.judges.texture_features import texture_features
from medsynth.judges.thumbnails import GRID, thumbnails

log = logging.getLogger(__name__)


def evaluate(
    settings: EvaluateSettings,
    store: Store,
    reference: Reference,
    images: Images,
    rows: pd.DataFrame,
    history: pd.DataFrame | None,
    out: Path,
    overfitted_from: int | None = None,
    reconstructions: Reconstructions | None = None,
) -> None:
    """Judge synthetic images and write metrics.csv, samples.csv, copy_limits.csv and figures, whole or not at all.

    Args:
        store: the prepared real images.
        reference: what is known of them.
        images: uint16 (n, C, *spatial), scaled as in the store.
        rows: n rows: sample_id and the condition cells that were asked.
        history: the training history, for its curves; None leaves the figure out.
        out: folder of the results; replaced.
        overfitted_from: images seen at the best validation of a model that overfitted, for the curves.
        reconstructions: of test images by the model; None, or none of them, where its family does not reconstruct.
    Raises:
        InputError: the images do not match the rows or the store.
    """
    evidence = gather(settings, store, reference, images, rows, reconstructions)
    with folder_written_whole(out) as part:
        tables.write(part / "metrics.csv", measure(evidence, reference.extractor))
        tables.write(part / "copy_limits.csv", _limit_table(evidence.checks.copies))
        tables.write(part / "samples.csv", _without_surplus(settings, store, rows, _verdict_table(evidence)))
        _draw(part, evidence, store, images)
        if history is not None:
            figures.training_curves(part / "curves.png", history, overfitted_from)


def measure(evidence: Evidence, extractor: str) -> pd.DataFrame:
    """Every metric that the settings name; one that cannot be computed is an empty value with a note.

    Args:
        extractor: name of what took the features, for the metrics that look at them.
    """
    return as_table(
        replace(row, extractor=extractor if "features" in metric.needs else "")
        for metric in _metrics(evidence.settings)
        for row in metric.rows(evidence)
    )


def _metrics(settings: EvaluateSettings) -> list[Metric]:
    """In the registry's order."""
    return [entry.load() for name, entry in registry.METRICS.items() if name in settings.evaluation.metrics]


def gather(
    settings: EvaluateSettings,
    store: Store,
    reference: Reference,
    images: Images,
    rows: pd.DataFrame,
    reconstructions: Reconstructions | None = None,
) -> Evidence:
    """Set the checks, and look at the synthetic images as the real ones were looked at."""
    info = store.info
    rows = rows.reset_index(drop=True)
    train, val, test = (store.split(name) for name in ("train", "val", "test"))
    expected = (len(rows), info.channels, *info.size)
    if images.shape != expected:
        raise InputError(f"store {info.dataset}: synthetic images are {images.shape}, expected {expected}")
    schema = info.condition_schema
    strata = {name: schema.fields[name].values for name in info.strata or (info.label,)}  # type: ignore[attr-defined]
    classes = strata[info.label]
    readers = restored(reference.readers, reference.trunk, schema, val.images.shape)
    of_validation = reference.inadequate("val")
    copies = CopyLimits.from_validation(
        {"whole": reference.similarity["val"], "parts": reference.parts["val"]},
        len(train),
        settings.evaluation.max_similarity_quantile,
        reference.planted_for_limits,
    )
    checks = Checks.from_validation(
        copies,
        val.samples[info.label].to_numpy(dtype=str),
        read(readers, val.images).probabilities[info.label],
        classes,
        settings.evaluation,
        of_validation.get((info.label, "accuracy"), ""),
    )
    for value, why in checks.off.items():
        log.warning("misread check off for %s %s: %s", info.label, value, why)
    names = train.samples["image"].to_numpy(dtype=str)

    def side(
        pictures: Images,
        table: pd.DataFrame,
        masks: np.ndarray | None,
        likeness: Likeness,
        features: np.ndarray,
    ) -> Side:
        reading, nearest = read(readers, pictures), likeness.position
        asked = table[info.label].to_numpy(dtype=str)
        probability = requested_probability(asked, reading.probabilities[info.label], classes)
        verdicts = checks.judge(
            asked,
            reading.values[info.label].to_numpy(dtype=str),
            probability,
            likeness.by_name,
        )
        of_nearest = likeness.whole, likeness.parts, nearest, names[nearest]
        of_pixels = spectrum(pictures), cells(pictures), texture(pictures)
        return Side(table, pictures, features, *of_pixels, reading, *of_nearest, verdicts, masks)

    wanted = {part for metric in _metrics(settings) for part in metric.needs}
    none = np.empty((len(rows), 0))
    spectrum = _spectrum if "spectrum" in wanted else lambda *_: none
    features = extract(images, name=reference.extractor) if "features" in wanted else none
    cells = _cells if "thumbnails" in wanted else lambda *_: none
    texture = texture_features if "texture" in wanted else lambda *_: none
    index = TrainingIndex.from_arrays(reference.index)
    likeness = index.nearest(images)
    of_test = Likeness(reference.similarity["test"], reference.parts["test"], reference.nearest["test"])
    return Evidence(
        schema,
        info.label,
        strata,
        tuple(images.shape[2:]),
        side(test.images, test.samples, test.masks, of_test, reference.features["test"]),
        side(images, rows, store.masks_asked(rows), likeness, features),
        train.samples.iloc[reference.chosen],
        reference.features["training"],
        spectrum(train.images, reference.chosen),
        cells(train.images, reference.chosen),
        texture(train.images, reference.chosen),
        checks,
        settings,
        reference.planted,
        reference.inadequate("val", "test"),
        _compared(reconstructions, store, reference) if reconstructions else None,
        leaks(index, test.images, images, val.images) if "leaks" in wanted else None,
    )


def _limit_table(limits: CopyLimits) -> pd.DataFrame:
    return pd.DataFrame(list(limits.above.items()), columns=list(COPY_LIMITS))


def _spectrum(images: Images, rows: np.ndarray | None = None) -> np.ndarray:
    """(n, C, bands) in dB, of all images or of some rows; one image at a time, since a transform takes several times
    as much memory as the image.
    """

    def of(block: np.ndarray) -> np.ndarray:
        return np.concatenate([spectrum_db(to_intensity(image[None])) for image in block])

    return in_blocks(of, images, rows)


def _cells(images: Images, rows: np.ndarray | None = None) -> np.ndarray:
    """(n, cells) of thumbnails in [0, 1]."""
    return thumbnails(images, GRID[images.ndim - 2], rows).flatten(1).numpy()


def _compared(reconstructions: Reconstructions, store: Store, reference: Reference) -> Compared:
    """Reconstructions beside their images, and beside the training images that are nearest to those."""
    rows = reconstructions.rows
    nearest = store.split("train").images[reference.nearest["test"][rows]]
    return Compared(store.split("test").images[rows], reconstructions.images, nearest, rows)


def _verdict_table(evidence: Evidence) -> pd.DataFrame:
    """samples.csv: what was read from each sample, its nearest training image, and the verdict."""
    side = evidence.synthetic
    table = side.table[["sample_id"]].join(reading_cells(evidence.schema, side.table, side.reading))
    return table.assign(nearest_similarity=side.similarity, nearest_image=side.nearest_image).join(side.verdicts)


def _without_surplus(settings: EvaluateSettings, store: Store, rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The verdicts with what a plan by kept samples does not need marked; the log says what it lacks."""
    request = settings.oversample
    if request is None:
        return table
    values = store.info.condition_schema.fields[request.column].values  # type: ignore[attr-defined]  # it has classes
    wanted = lacking(values, store.split("train").samples[request.column], request.minimum)
    asked = rows[request.column].to_numpy(dtype=str)
    table = beyond(table, asked, wanted)
    for value, count in wanted.items():
        of_value = asked == value
        if (kept := int((table["verdict"][of_value] == "kept").sum())) < count:
            log.warning(
                "%s %s: %d of %d samples kept, %d are wanted: raise plan.request.limit (%g)",
                *(request.column, value, kept, of_value.sum(), count, request.limit),
            )
    return table


def _draw(folder: Path, evidence: Evidence, store: Store, images: Images) -> None:
    sides = {"real": evidence.test, "synthetic": evidence.synthetic}
    real, synthetic = (
        (pictures, side.table[evidence.label].to_numpy())
        for pictures, side in zip((store.split("test").images, images), sides.values(), strict=True)
    )
    sheet, classes = folder / "contact_sheet.png", evidence.strata[evidence.label]
    if len(evidence.shape) == 3:
        shown = Volumes(*real, evidence.test.masks), Volumes(*synthetic, evidence.synthetic.masks)
        spacing_mm = typical_spacing_mm(store.split("train"))
        volume_sheet(sheet, store.info.dataset, classes, shown, store.info.structures, spacing_mm)
    else:
        figures.contact_sheet(sheet, store.info.dataset, classes, real, synthetic)
    side, limit = evidence.synthetic, evidence.checks.copies.above["whole"]
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
    unread = {
        column
        for (group, _) in evidence.inadequate
        if group in evidence.schema.kinds
        for column in evidence.schema.kinds[group].columns
    }
    figures.adherence(
        folder / "adherence.png", evidence.label, evidence.strata[evidence.label], readings, numbers, unread
    )
