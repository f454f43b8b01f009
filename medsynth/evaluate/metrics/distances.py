"""Distances between synthetic and held-out real images: of the distributions of features, and of mean spectra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.evaluate import diversity, fidelity
from medsynth.evaluate.metrics.metric import NAN, Evidence, Function, Group, Metric, Row
from medsynth.judges import texture
from medsynth.judges.features import MOST


@dataclass(frozen=True)
class Seen:
    """What a distance is measured in, of test, synthetic and training images, rows first."""

    test: np.ndarray
    synthetic: np.ndarray
    training: np.ndarray

    @classmethod
    def features(cls, evidence: Evidence) -> Seen:
        return cls(evidence.test.features, evidence.synthetic.features, evidence.training_features)

    @classmethod
    def spectrum(cls, evidence: Evidence) -> Seen:
        return cls(evidence.test.spectrum, evidence.synthetic.spectrum, evidence.training_spectrum)

    @classmethod
    def texture(cls, evidence: Evidence) -> Seen:
        """In standard deviations of the training images, since features of texture have units of their own."""
        training = evidence.training_texture
        mean, deviation = training.mean(0), training.std(0)
        parts = (evidence.test.texture, evidence.synthetic.texture, training)
        return cls(*((part - mean) / np.where(deviation > 0, deviation, 1) for part in parts))


def _distance_rows(
    name: tuple[str, bool | None],
    distance: Function,
    interval: Callable[..., tuple[float, float]],
    evidence: Evidence,
    groups: Sequence[Group] | None = None,
    fewest: int = FEWEST_SUBJECTS,
    look: Callable[[Evidence], Seen] = Seen.features,
) -> Iterator[Row]:
    """Synthetic against test images; the floor is training against test images, as many of them.

    Args:
        groups: of images; all of them together if None.
    """
    metric, higher_is_better = name
    seen = look(evidence)
    real, synthetic = evidence.test, evidence.synthetic
    for group in evidence.groups()[:1] if groups is None else groups:
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
        held_out, b = seen.test[a], seen.synthetic[rows_synthetic[of_synthetic]]
        train = seen.training[rows_training[of_training]]
        yield Row(
            metric,
            group.name,
            distance(held_out, b),
            *interval(held_out, b, subjects, rng=rng),
            distance(held_out, train),
            n,
            m,
            higher_is_better,
            "; ".join(notes),
        )


def kid_rows(
    name: str,
    evidence: Evidence,
    groups: Sequence[Group] | None,
    look: Callable[[Evidence], Seen] = Seen.features,
) -> Iterator[Row]:
    """The kernel inception distance of each group, or of all images."""
    interval = partial(fidelity.kid_interval, draws=evidence.settings.evaluation.bootstrap)
    return _distance_rows((name, False), fidelity.kid, interval, evidence, groups, look=look)


def _kid_rows(evidence: Evidence) -> Iterator[Row]:
    return kid_rows("kid", evidence, evidence.groups())


def _kid_texture_rows(evidence: Evidence) -> Iterator[Row]:
    return kid_rows("kid_texture", evidence, None, Seen.texture)


def _fid_rows(name: str, look: Callable[[Evidence], Seen], evidence: Evidence) -> Iterator[Row]:
    interval = partial(fidelity.jackknife_interval, fidelity.fid, bounds=(0.0, np.inf))
    return _distance_rows((name, False), fidelity.fid, interval, evidence, look=look)


def _neighbour_rows(name: str, metric: Function, most: float, evidence: Evidence) -> Iterator[Row]:
    neighbours = evidence.settings.evaluation.neighbours
    distance = partial(metric, neighbours=neighbours)
    interval = partial(fidelity.jackknife_interval, distance, bounds=(0.0, most))
    # The jackknife leaves out at least one subject, and k neighbours must remain.
    return _distance_rows((name, True), distance, interval, evidence, fewest=max(FEWEST_SUBJECTS, 2 * neighbours))


def _spectrum_rows(
    name: tuple[str, bool | None], distance: Function, least: float, evidence: Evidence
) -> Iterator[Row]:
    interval = partial(fidelity.jackknife_interval, distance, bounds=(least, np.inf))
    return _distance_rows(name, distance, interval, evidence, look=Seen.spectrum)


FEATURES = frozenset({"features"})
KID = Metric(FEATURES, _kid_rows)
FID = Metric(FEATURES, partial(_fid_rows, "fid", Seen.features))
DENSITY = Metric(FEATURES, partial(_neighbour_rows, "density", diversity.density, np.inf))
COVERAGE = Metric(FEATURES, partial(_neighbour_rows, "coverage", diversity.coverage, 1.0))
TEXTURE = frozenset({"texture"})
KID_TEXTURE = Metric(TEXTURE, _kid_texture_rows)
FID_TEXTURE = Metric(TEXTURE, partial(_fid_rows, "fid_texture", Seen.texture))
SPECTRUM = frozenset({"spectrum"})
SPECTRUM_DISTANCE_DB = Metric(
    SPECTRUM, partial(_spectrum_rows, ("spectrum_distance_db", False), texture.spectrum_distance_db, 0.0)
)
# No direction: blurred images have less fine detail than real ones, noisy images more.
FINEST_OCTAVE_DB = Metric(
    SPECTRUM, partial(_spectrum_rows, ("finest_octave_db", None), texture.finest_octave_db, -np.inf)
)
