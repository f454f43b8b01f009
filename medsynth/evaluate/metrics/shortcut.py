"""Marks of the generator: whether they tell real from synthetic images, and whether they give the class away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsynth.conditions.statistics import auroc, balanced_accuracy
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.evaluate import shortcut
from medsynth.evaluate.metrics.metric import NAN, Evidence, Metric, Row
from medsynth.judges.resampling import percentile_interval, subject_draws

MOST = 1000  # images of each origin that classifiers learn from
AUC, GAP = "shortcut_auc", "shortcut_gap"


@dataclass(frozen=True)
class Origin:
    """Images of one origin.

    Attributes:
        features: (n, d) of the extractor, and the cells of thumbnails, since the former see little of a corner.
        labels, subjects: (n,).
    """

    features: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray

    def at(self, rows: np.ndarray) -> Origin:
        """Those at some positions."""
        return Origin(self.features[rows], self.labels[rows], self.subjects[rows])

    def among(self, classes: list[str]) -> Origin:
        """Those of some classes."""
        return self.at(np.flatnonzero(np.isin(self.labels, classes)))

    @property
    def people(self) -> int:
        return len(set(self.subjects))


def _origins(evidence: Evidence) -> list[Origin]:
    """Test, synthetic and training images, at most MOST of each; each sample is a subject of its own."""
    test, synthetic, rng = evidence.test, evidence.synthetic, evidence.rng()
    samples = pd.Series(np.arange(len(synthetic.table)).astype(str))
    parts = (
        (test.features, test.thumbnails, test.table, test.table["subject_id"]),
        (synthetic.features, synthetic.thumbnails, synthetic.table, "sample " + samples),
        (evidence.training_features, evidence.training_thumbnails, evidence.training, evidence.training["subject_id"]),
    )
    found = []
    for features, cells, table, subjects in parts:
        labels = table[evidence.label].to_numpy(dtype=str)
        whole = Origin(np.concatenate([features, cells], 1), labels, subjects.to_numpy(dtype=str))
        found.append(whole.at(rng.permutation(len(labels))[:MOST]))
    return found


def _auc_rows(evidence: Evidence) -> Iterator[Row]:
    """Test against synthetic images of each class; the floor is test against training images, as many of them."""
    origins, seed, draws = _origins(evidence), evidence.settings.seed, evidence.settings.evaluation.bootstrap
    for group in evidence.groups():
        if group.field != evidence.label:
            continue
        of_class = [each.among([group.value]) for each in origins]
        counts = len(of_class[0].labels), len(of_class[1].labels)
        people = [each.people for each in of_class]
        if min(people) < FEWEST_SUBJECTS:
            note = f"{people[0]} test subjects, {people[1]} samples, {people[2]} training subjects"
            note = f"{note}: needs {FEWEST_SUBJECTS} of each"
            yield Row(AUC, group.name, NAN, NAN, NAN, NAN, *counts, False, note)
            continue
        count = min(*counts, len(of_class[2].labels))
        test, synthetic, training = (each.at(np.arange(count)) for each in of_class)
        of_samples, of_real = (
            shortcut.told_apart(
                test.features, other.features, np.concatenate([test.subjects, other.subjects]), seed
            )
            for other in (synthetic, training)
        )  # fmt: skip
        drawn = [
            auroc(of_samples[count:][others], of_samples[:count][rows])
            for rows, others in _pairs(test.subjects, synthetic.subjects, draws, seed)
        ]
        interval = percentile_interval(np.array(drawn))
        value, floor = (auroc(scores[count:], scores[:count]) for scores in (of_samples, of_real))
        yield Row(AUC, group.name, value, *interval, floor, count, count, False)


def _gap_rows(evidence: Evidence) -> Iterator[Row]:
    """What a lazy classifier, trained on samples, reads of other samples and no longer of test images.

    Of what it reads of samples no more counts than a classifier that is trained on real images reads of test images:
    what cannot be read there is no shortcut. All are balanced accuracies. What the classes of an origin share is taken
    off first, so that a generator whose images are all too smooth has no gap by that. The floor is that of training
    images in place of samples.
    """
    origins, seed, draws = _origins(evidence), evidence.settings.seed, evidence.settings.evaluation.bootstrap
    classes = [
        value
        for value in evidence.strata[evidence.label]
        if min(each.among([value]).people for each in origins) >= FEWEST_SUBJECTS
    ]
    if len(classes) < 2:
        counts = len(origins[0].labels), len(origins[1].labels)
        note = f"{len(classes)} classes of {FEWEST_SUBJECTS} subjects of each origin, needs 2"
        yield Row(GAP, "all", NAN, NAN, NAN, NAN, *counts, False, note)
        return
    test, synthetic, training = (each.among(classes) for each in origins)
    shown, of_samples, of_real = (shortcut.centred(each.features, each.labels) for each in (test, synthetic, training))
    lazy = shortcut.Lazy.fitted(of_samples, synthetic.labels, synthetic.subjects, seed)
    real = shortcut.Lazy.fitted(of_real, training.labels, training.subjects, seed)
    kept, could = (each.model.predict(shown) for each in (lazy, real))

    def accuracies(of_test: np.ndarray, of_synthetic: np.ndarray) -> np.ndarray:
        """On samples and on test images where trained on samples, on test images where trained on real ones."""
        labels = test.labels[of_test]
        own = balanced_accuracy(synthetic.labels[of_synthetic], lazy.read[of_synthetic])
        return np.array([own, *(balanced_accuracy(labels, read[of_test]) for read in (kept, could))])

    pairs = _pairs(test.subjects, synthetic.subjects, draws, seed)
    drawn = np.array([accuracies(*rows) for rows in pairs])
    own, transferred, reads = accuracies(np.arange(len(test.labels)), np.arange(len(synthetic.labels)))
    counts, chance = (len(test.labels), len(synthetic.labels)), 1 / len(classes)
    if percentile_interval(drawn[:, 2])[0] <= chance:
        note = f"trained on real images, the classifier reads {reads:.2f} of test images, by chance {chance:.2f}"
        yield Row(GAP, "all", NAN, NAN, NAN, NAN, *counts, False, note)
        return
    gaps = np.minimum(drawn[:, 0], drawn[:, 2]) - drawn[:, 1]
    floor = balanced_accuracy(training.labels, real.read) - reads
    note = f"trained on samples, {own:.2f} of samples and {transferred:.2f} of test images; on real ones {reads:.2f}"
    yield Row(GAP, "all", min(own, reads) - transferred, *percentile_interval(gaps), floor, *counts, False, note)


def _pairs(test: np.ndarray, synthetic: np.ndarray, draws: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of drawn test subjects and of drawn samples."""
    return zip(subject_draws(test, draws, seed), subject_draws(synthetic, draws, seed + 1), strict=True)


NEEDS = frozenset({"features", "thumbnails"})
SHORTCUT_AUC = Metric(NEEDS, _auc_rows)
SHORTCUT_GAP = Metric(NEEDS, _gap_rows)
