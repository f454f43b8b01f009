"""Evaluation: synthetic images against held-out real ones, every number beside the one that real images reach.

`METRICS` is the table of what is measured; `evaluate` measures it and judges every sample, seeing no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import Store
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, EvaluateSettings, Number, Spatial
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.evaluate import diversity, fidelity, figures
from medsynth.evaluate.gates import Gates, requested_probability
from medsynth.judges import reader as adherence
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.features import extract
from medsynth.judges.reader import Reading

FEWEST = 20  # synthetic images, training images and test subjects that a distance between distributions needs
MOST = 4000  # images on each side that it takes; pairs of more do not fit in memory
NAN = float("nan")
Statistic = Callable[..., float]


@dataclass(frozen=True)
class Side:
    """Images of one origin and what was measured of each.

    Attributes:
        table: (n rows) condition cells, and subject_id for real images.
        features: (n, d).
        similarity, nearest, nearest_image: (n,) likeness to, position and name of the nearest training image.
        verdicts: (n rows) what the gates say.
    """

    table: pd.DataFrame
    features: np.ndarray
    reading: Reading
    similarity: np.ndarray
    nearest: np.ndarray
    nearest_image: np.ndarray
    verdicts: pd.DataFrame


@dataclass(frozen=True)
class Evidence:
    """All that a metric may look at.

    Attributes:
        test, synthetic: held-out real images, and the ones that are judged.
        training_features, training_labels: of training images, for the real-against-real floor.
        shape: (*spatial) in pixels.
    """

    schema: ConditionSchema
    label: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    test: Side
    synthetic: Side
    training_features: np.ndarray
    training_labels: np.ndarray
    gates: Gates
    settings: EvaluateSettings

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.settings.seed)

    def groups(self) -> list[tuple[str, str | None]]:
        """("all", None), then each class as a group's name and the class."""
        return [("all", None), *((f"{self.label}={value}", value) for value in self.classes)]


@dataclass(frozen=True)
class Row:
    """One line of metrics.csv: a value, its own 95 % interval, and what held-out real images reach (the floor)."""

    group: str
    value: float
    ci_low: float
    ci_high: float
    floor: float
    n_real: int
    n_synthetic: int
    note: str = ""


@dataclass(frozen=True)
class Metric:
    name: str
    higher_is_better: bool
    rows: Callable[[Evidence], Iterator[Row]]


# --- from evidence to rows --------------------------------------------------------------------------------------


def _distance_rows(
    distance: Statistic,
    interval: Callable[..., tuple[float, float]],
    evidence: Evidence,
    by_class: bool = False,
    fewest: int = FEWEST,
) -> Iterator[Row]:
    """Synthetic against test images; the floor is training against test images, as many of them."""
    real, synthetic = evidence.test, evidence.synthetic
    for group, value in evidence.groups()[: None if by_class else 1]:
        of_test, of_synthetic, of_training = (
            np.flatnonzero((labels == value) | (value is None))
            for labels in (real.table[evidence.label], synthetic.table[evidence.label], evidence.training_labels)
        )
        n, m = min(len(of_test), MOST), min(len(of_synthetic), len(of_training), MOST)
        rng = evidence.rng()
        a = rng.permutation(of_test)[:n]
        subjects = real.table["subject_id"].to_numpy()[a]
        if min(m, len(set(subjects))) < fewest:
            counts = (
                f"{len(set(subjects))} test subjects, {len(of_training)} training and {len(of_synthetic)} synthetic"
            )
            yield Row(group, NAN, NAN, NAN, NAN, n, m, f"{counts} images: needs {fewest} of each")
            continue
        b = synthetic.features[rng.permutation(of_synthetic)[:m]]
        train = evidence.training_features[rng.permutation(of_training)[:m]]
        notes = [f"{m} of {len(of_synthetic)} synthetic images"] if m < len(of_synthetic) else []
        if value is None:
            notes += fidelity.mixture_warnings(real.table[evidence.label], synthetic.table[evidence.label])
        yield Row(
            group,
            distance(real.features[a], b),
            *interval(real.features[a], b, subjects, rng=rng),
            distance(real.features[a], train),
            n,
            m,
            "; ".join(notes),
        )


def _kid_rows(evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.kid_interval, draws=evidence.settings.evaluation.bootstrap)
    return _distance_rows(fidelity.kid, interval, evidence, by_class=True)


def _fid_rows(evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.jackknife_interval, fidelity.fid, bounds=(0.0, np.inf))
    return _distance_rows(fidelity.fid, interval, evidence)


def _neighbour_rows(metric: Statistic, most: float, evidence: Evidence) -> Iterator[Row]:
    neighbours = evidence.settings.evaluation.neighbours
    distance = partial(metric, neighbours=neighbours)
    interval = partial(fidelity.jackknife_interval, distance, bounds=(0.0, most))
    # The jackknife leaves out at least one subject, and k neighbours must remain.
    return _distance_rows(distance, interval, evidence, fewest=max(FEWEST, 2 * neighbours))


def _reading_rows(kind: type, statistic: Statistic, evidence: Evidence) -> Iterator[Row]:
    """Every field of a kind; the floor is the same reader on test images."""
    for name, field in evidence.schema.fields.items():
        if isinstance(field, kind):
            synthetic, real = (
                adherence.asked_and_read(evidence.schema, name, side.table, side.reading, evidence.shape)
                for side in (evidence.synthetic, evidence.test)
            )
            yield _statistic_row(name, statistic, synthetic, real, evidence)
            for group, value in evidence.groups()[1:] if name == evidence.label else ():
                chosen, held_out = ([part[pair[0] == value] for part in pair] for pair in (synthetic, real))
                yield _statistic_row(group, statistic, chosen, held_out, evidence)


def _image_rows(of: Callable[[Side], np.ndarray], statistic: Statistic, evidence: Evidence) -> Iterator[Row]:
    """Something known of each image; the floor is the same of test images."""
    for group, value in evidence.groups():
        synthetic, real = (
            of(side)[(side.table[evidence.label] == value) | (value is None)]
            for side in (evidence.synthetic, evidence.test)
        )
        yield _statistic_row(group, statistic, [synthetic], [real], evidence)


def _copy_rows(evidence: Evidence) -> Iterator[Row]:
    limit, quantile = evidence.gates.similarity_limit, evidence.settings.evaluation.max_similarity_quantile
    note = f"similarity above {limit:.4f}, quantile {quantile:g} of the validation images"
    for row in _image_rows(lambda side: side.similarity > limit, np.mean, evidence):
        yield replace(row, note="; ".join(filter(None, (row.note, note))))


def _statistic_row(
    group: str, statistic: Statistic, synthetic: Sequence[np.ndarray], real: Sequence[np.ndarray], evidence: Evidence
) -> Row:
    n, m = len(real[0]), len(synthetic[0])
    floor = float(statistic(*real)) if n else NAN
    value = float(statistic(*synthetic)) if m else NAN
    if np.isnan(value):
        note = "what was asked or read does not vary" if m else "no synthetic image was asked for it"
        return Row(group, value, NAN, NAN, floor, n, m, note)
    draws = evidence.settings.evaluation.bootstrap
    interval = adherence.bootstrap_interval(statistic, synthetic, draws, evidence.rng())
    return Row(group, value, *interval, floor, n, m, "" if n else "no test image with it")


METRICS = (
    Metric("kid", False, _kid_rows),
    Metric("fid", False, _fid_rows),
    Metric("density", True, partial(_neighbour_rows, diversity.density, np.inf)),
    Metric("coverage", True, partial(_neighbour_rows, diversity.coverage, 1.0)),
    Metric("accuracy", True, partial(_reading_rows, Categorical, adherence.accuracy)),
    Metric("mean_absolute_error", False, partial(_reading_rows, Number, adherence.mean_absolute_error)),
    Metric("rank_correlation", True, partial(_reading_rows, Number, adherence.rank_correlation)),
    Metric("centre_error_px", False, partial(_reading_rows, Spatial, adherence.centre_error_px)),
    Metric("size_error_px", False, partial(_reading_rows, Spatial, adherence.size_error_px)),
    Metric("nearest_similarity", False, partial(_image_rows, lambda side: side.similarity, np.median)),
    Metric("copy_rate", False, _copy_rows),
    Metric(
        "kept_rate", True, partial(_image_rows, lambda side: side.verdicts["verdict"].to_numpy() == "kept", np.mean)
    ),
)


# --- the step ---------------------------------------------------------------------------------------------------


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


def measure(evidence: Evidence) -> pd.DataFrame:
    """Every metric of the table; one that cannot be computed is an empty value with a note."""
    table = pd.DataFrame(
        {"metric": metric.name, **asdict(row), "higher_is_better": metric.higher_is_better}
        for metric in METRICS
        for row in metric.rows(evidence)
    )
    table["note"] = table.pop("note")  # last
    return table


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
    schema = ConditionSchema(info.conditions, len(info.size))
    label = schema.fields[info.label]
    assert isinstance(label, Categorical)
    reader = adherence.train_reader(
        (train.images, schema.encode(train.samples)),
        (val.images, schema.encode(val.samples)),
        schema,
        settings.evaluation.predictor_epochs,
        settings.seed,
    )
    index = TrainingIndex(train.images)
    gates = Gates.from_validation(
        index.nearest(val.images)[0],
        val.samples[info.label].to_numpy(dtype=str),
        adherence.read(reader, val.images).probabilities[info.label],
        label.values,
        settings.evaluation,
    )
    names = train.samples["image"].to_numpy(dtype=str)

    def side(pictures: Images, table: pd.DataFrame) -> Side:
        reading, (similarity, nearest) = adherence.read(reader, pictures), index.nearest(pictures)
        asked = table[info.label].to_numpy(dtype=str)
        probability = requested_probability(asked, reading.probabilities[info.label], label.values)
        read = reading.values[info.label].to_numpy(dtype=str)
        verdicts = gates.judge(asked, read, probability, similarity)
        return Side(table, extract(pictures), reading, similarity, nearest, names[nearest], verdicts)

    chosen = np.random.default_rng(settings.seed).permutation(len(train))[:MOST]
    return Evidence(
        schema,
        info.label,
        label.values,
        tuple(images.shape[2:]),
        side(test.images, test.samples),
        side(images, rows),
        extract(train.images, chosen),
        train.samples[info.label].to_numpy(dtype=str)[chosen],
        gates,
        settings,
    )


def _verdict_table(evidence: Evidence) -> pd.DataFrame:
    """samples.csv: what was read from each sample, its nearest training image, and the verdict."""
    side = evidence.synthetic
    table = side.table[["sample_id"]].join(adherence.reading_cells(evidence.schema, side.table, side.reading))
    return table.assign(nearest_similarity=side.similarity, nearest_image=side.nearest_image).join(side.verdicts)


def _draw(folder: Path, evidence: Evidence, store: Store, images: Images) -> None:
    sides = {"real": evidence.test, "synthetic": evidence.synthetic}
    real, synthetic = (
        (pictures, side.table[evidence.label].to_numpy())
        for pictures, side in zip((store.split("test").images, images), sides.values(), strict=True)
    )
    figures.contact_sheet(folder / "contact_sheet.png", store.info.dataset, evidence.classes, real, synthetic)
    side, limit = evidence.synthetic, evidence.gates.similarity_limit
    closest = np.argsort(side.similarity)[::-1][: figures.COLUMNS]
    nearest = store.split("train").images[side.nearest[closest]]
    figures.nearest_neighbours(folder / "nearest.png", images[closest], nearest, side.similarity[closest], limit)
    readings = {
        name: side.table.reindex(columns=evidence.schema.columns, fill_value="")
        .add_prefix("asked_")
        .join(adherence.reading_cells(evidence.schema, side.table, side.reading))
        for name, side in sides.items()
    }
    numbers = side.reading.values.select_dtypes("number").columns.tolist()
    figures.adherence(folder / "adherence.png", evidence.label, evidence.classes, readings, numbers)
