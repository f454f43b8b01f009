"""Distances between the distributions of features of synthetic and held-out real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.evaluate import diversity, fidelity
from medsynth.evaluate.metrics.metric import NAN, Evidence, Function, Metric, Row
from medsynth.judges.features import MOST


def _distance_rows(
    name: tuple[str, bool],
    distance: Function,
    interval: Callable[..., tuple[float, float]],
    evidence: Evidence,
    by_group: bool = False,
    fewest: int = FEWEST_SUBJECTS,
) -> Iterator[Row]:
    """Synthetic against test images; the floor is training against test images, as many of them."""
    metric, higher_is_better = name
    real, synthetic = evidence.test, evidence.synthetic
    for group in evidence.groups()[: None if by_group else 1]:
        classes = [
            (table[evidence.label].to_numpy(dtype=str), np.flatnonzero(group.rows(table)))
            for table in (real.table, synthetic.table, evidence.training)
        ]
        rng = evidence.rng()
        chosen, (of_synthetic, of_training), notes = fidelity.of_one_mixture(
            classes[0][0][classes[0][1]], [of[rows] for of, rows in classes[1:]], MOST, rng
        )
        (_, rows), (_, rows_synthetic), (_, rows_training) = classes
        a, n, m = rows[chosen], len(chosen), len(of_synthetic)
        subjects = real.table["subject_id"].to_numpy()[a]
        if min(m, len(set(subjects))) < fewest:
            counts = (
                f"{len(set(subjects))} test subjects, {len(rows_training)} training and {len(rows_synthetic)} synthetic"
            )
            note = "; ".join([f"{counts} images: needs {fewest} of each", *notes])
            yield Row(metric, group.name, NAN, NAN, NAN, NAN, n, m, higher_is_better, note)
            continue
        b = synthetic.features[rows_synthetic[of_synthetic]]
        train = evidence.training_features[rows_training[of_training]]
        yield Row(
            metric,
            group.name,
            distance(real.features[a], b),
            *interval(real.features[a], b, subjects, rng=rng),
            distance(real.features[a], train),
            n,
            m,
            higher_is_better,
            "; ".join(notes),
        )


def _kid_rows(evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.kid_interval, draws=evidence.settings.evaluation.bootstrap)
    return _distance_rows(("kid", False), fidelity.kid, interval, evidence, by_group=True)


def _fid_rows(evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.jackknife_interval, fidelity.fid, bounds=(0.0, np.inf))
    return _distance_rows(("fid", False), fidelity.fid, interval, evidence)


def _neighbour_rows(name: str, metric: Function, most: float, evidence: Evidence) -> Iterator[Row]:
    neighbours = evidence.settings.evaluation.neighbours
    distance = partial(metric, neighbours=neighbours)
    interval = partial(fidelity.jackknife_interval, distance, bounds=(0.0, most))
    # The jackknife leaves out at least one subject, and k neighbours must remain.
    return _distance_rows((name, True), distance, interval, evidence, fewest=max(FEWEST_SUBJECTS, 2 * neighbours))


FEATURES = frozenset({"features"})
KID = Metric(FEATURES, _kid_rows)
FID = Metric(FEATURES, _fid_rows)
DENSITY = Metric(FEATURES, partial(_neighbour_rows, "density", diversity.density, np.inf))
COVERAGE = Metric(FEATURES, partial(_neighbour_rows, "coverage", diversity.coverage, 1.0))
