"""Metrics: synthetic images against held-out real ones, every number beside the one that real images reach.

A metric is a name, a direction, and a function from `Evidence` to rows. Those of readings are made from the statistics
of the conditions' kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from medsynth import registry
from medsynth.conditions.kind import Kind, Reading, Statistic
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import EvaluateSettings
from medsynth.evaluate import diversity, fidelity
from medsynth.evaluate.gates import Gates

FEWEST = 20  # synthetic images, training images and test subjects that a distance between distributions needs
MOST = 4000  # images on each side that it takes; pairs of more do not fit in memory
NAN = float("nan")
Function = Callable[..., float]


@dataclass(frozen=True)
class Side:
    """Images of one origin and what was measured of each.

    Attributes:
        table: (n rows) condition cells, and subject_id for real images.
        features: (n, d).
        similarity, nearest, nearest_image: (n,) likeness to, position and name of the nearest training image.
        verdicts: (n rows) what the gates say.
        masks: (n, *spatial) label maps: a real image's own, those that synthetic ones were asked for by.
    """

    table: pd.DataFrame
    features: np.ndarray
    reading: Reading
    similarity: np.ndarray
    nearest: np.ndarray
    nearest_image: np.ndarray
    verdicts: pd.DataFrame
    masks: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """All that a metric may look at.

    Attributes:
        strata: the fields by whose values metrics are grouped, each with its values.
        test, synthetic: held-out real images, and the ones that are judged.
        training, training_features: of training images, for the real-against-real floor.
        shape: (*spatial) in pixels.
    """

    schema: ConditionSchema
    label: str
    strata: dict[str, tuple[str, ...]]
    shape: tuple[int, ...]
    test: Side
    synthetic: Side
    training: pd.DataFrame
    training_features: np.ndarray
    gates: Gates
    settings: EvaluateSettings

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.settings.seed)

    def groups(self) -> list[Group]:
        """All images, then those of each value of each stratum."""
        return [
            Group("all"),
            *(Group(f"{name}={value}", name, value) for name in self.strata for value in self.strata[name]),
        ]


@dataclass(frozen=True)
class Group:
    """Images of one value of a field, or all of them."""

    name: str
    field: str = ""
    value: str = ""

    def rows(self, table: pd.DataFrame) -> np.ndarray:
        """(n,) which of them are in it."""
        return (table[self.field] == self.value).to_numpy() if self.field else np.ones(len(table), bool)


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
    distance: Function,
    interval: Callable[..., tuple[float, float]],
    evidence: Evidence,
    by_group: bool = False,
    fewest: int = FEWEST,
) -> Iterator[Row]:
    """Synthetic against test images; the floor is training against test images, as many of them."""
    real, synthetic = evidence.test, evidence.synthetic
    for group in evidence.groups()[: None if by_group else 1]:
        of_test, of_synthetic, of_training = (
            np.flatnonzero(group.rows(table)) for table in (real.table, synthetic.table, evidence.training)
        )
        n, m = min(len(of_test), MOST), min(len(of_synthetic), len(of_training), MOST)
        rng = evidence.rng()
        a = rng.permutation(of_test)[:n]
        subjects = real.table["subject_id"].to_numpy()[a]
        if min(m, len(set(subjects))) < fewest:
            counts = (
                f"{len(set(subjects))} test subjects, {len(of_training)} training and {len(of_synthetic)} synthetic"
            )
            yield Row(group.name, NAN, NAN, NAN, NAN, n, m, f"{counts} images: needs {fewest} of each")
            continue
        b = synthetic.features[rng.permutation(of_synthetic)[:m]]
        train = evidence.training_features[rng.permutation(of_training)[:m]]
        notes = [f"{m} of {len(of_synthetic)} synthetic images"] if m < len(of_synthetic) else []
        if not group.field:
            notes += fidelity.mixture_warnings(real.table[evidence.label], synthetic.table[evidence.label])
        yield Row(
            group.name,
            distance(real.features[a], b),
            *interval(real.features[a], b, subjects, rng=rng),
            distance(real.features[a], train),
            n,
            m,
            "; ".join(notes),
        )


def _kid_rows(evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.kid_interval, draws=evidence.settings.evaluation.bootstrap)
    return _distance_rows(fidelity.kid, interval, evidence, by_group=True)


def _fid_rows(evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.jackknife_interval, fidelity.fid, bounds=(0.0, np.inf))
    return _distance_rows(fidelity.fid, interval, evidence)


def _neighbour_rows(metric: Function, most: float, evidence: Evidence) -> Iterator[Row]:
    neighbours = evidence.settings.evaluation.neighbours
    distance = partial(metric, neighbours=neighbours)
    interval = partial(fidelity.jackknife_interval, distance, bounds=(0.0, most))
    # The jackknife leaves out at least one subject, and k neighbours must remain.
    return _distance_rows(distance, interval, evidence, fewest=max(FEWEST, 2 * neighbours))


def _reading_rows(statistics: Sequence[tuple[Kind, Statistic]], evidence: Evidence) -> Iterator[Row]:
    """Each field that has the statistic; the floor is the same reader on test images."""
    for kind, statistic in statistics:
        pair = [
            kind.asked_and_read(side.table, side.masks, side.reading, evidence.shape)
            for side in (evidence.synthetic, evidence.test)
        ]
        for (part, synthetic), (_, real) in zip(*map(kind.by_part, pair), strict=True):
            yield _statistic_row(part, statistic.of, synthetic, real, evidence)
        for group in evidence.groups():
            if group.field == kind.name:
                asked = kind.asked_as(group.value)
                chosen, held_out = ([part[arrays[0] == asked] for part in arrays] for arrays in pair)
                yield _statistic_row(group.name, statistic.of, chosen, held_out, evidence)


def _image_rows(of: Callable[[Side], np.ndarray], statistic: Function, evidence: Evidence) -> Iterator[Row]:
    """Something known of each image; the floor is the same of test images."""
    for group in evidence.groups():
        synthetic, real = (of(side)[group.rows(side.table)] for side in (evidence.synthetic, evidence.test))
        yield _statistic_row(group.name, statistic, [synthetic], [real], evidence)


def _copy_rows(evidence: Evidence) -> Iterator[Row]:
    limit, quantile = evidence.gates.similarity_limit, evidence.settings.evaluation.max_similarity_quantile
    note = f"similarity above {limit:.4f}, quantile {quantile:g} of the validation images"
    for row in _image_rows(lambda side: side.similarity > limit, np.mean, evidence):
        yield replace(row, note="; ".join(filter(None, (row.note, note))))


def _statistic_row(
    group: str, statistic: Function, synthetic: Sequence[np.ndarray], real: Sequence[np.ndarray], evidence: Evidence
) -> Row:
    n, m = len(real[0]), len(synthetic[0])
    floor = float(statistic(*real)) if n else NAN
    value = float(statistic(*synthetic)) if m else NAN
    if np.isnan(value):
        note = "what was asked or read does not vary" if m else "no synthetic image was asked for it"
        return Row(group, value, NAN, NAN, floor, n, m, note)
    draws = evidence.settings.evaluation.bootstrap
    interval = bootstrap_interval(statistic, synthetic, draws, evidence.rng())
    return Row(group, value, *interval, floor, n, m, "" if n else "no test image with it")


def bootstrap_interval(
    statistic: Function, samples: Sequence[np.ndarray], draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of `statistic(*samples)` over the rows that the arrays share."""
    count = len(samples[0])
    values = [statistic(*(part[rows] for part in samples)) for rows in rng.integers(count, size=(draws, count))]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


OF_DISTRIBUTIONS = (
    Metric("kid", False, _kid_rows),
    Metric("fid", False, _fid_rows),
    Metric("density", True, partial(_neighbour_rows, diversity.density, np.inf)),
    Metric("coverage", True, partial(_neighbour_rows, diversity.coverage, 1.0)),
)
OF_IMAGES = (
    Metric("nearest_similarity", False, partial(_image_rows, lambda side: side.similarity, np.median)),
    Metric("copy_rate", False, _copy_rows),
    Metric(
        "kept_rate", True, partial(_image_rows, lambda side: side.verdicts["verdict"].to_numpy() == "kept", np.mean)
    ),
)


def metrics(schema: ConditionSchema) -> tuple[Metric, ...]:
    """All that is measured where images are asked for by these fields: kinds in the registry's order."""
    statistics: dict[str, list[tuple[Kind, Statistic]]] = {}
    for kind in sorted(schema.kinds.values(), key=lambda kind: list(registry.CONDITIONS).index(kind.settings.kind)):
        for statistic in kind.statistics:
            statistics.setdefault(statistic.name, []).append((kind, statistic))
    readings = (Metric(name, of[0][1].higher_is_better, partial(_reading_rows, of)) for name, of in statistics.items())
    return (*OF_DISTRIBUTIONS, *readings, *OF_IMAGES)


def measure(evidence: Evidence) -> pd.DataFrame:
    """Every metric; one that cannot be computed is an empty value with a note."""
    table = pd.DataFrame(
        {"metric": metric.name, **asdict(row), "higher_is_better": metric.higher_is_better}
        for metric in metrics(evidence.schema)
        for row in metric.rows(evidence)
    )
    table["note"] = table.pop("note")  # last
    return table
