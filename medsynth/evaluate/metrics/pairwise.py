"""How alike the images of a class are to each other: a generator that has collapsed makes few, again and again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import to_intensity
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.evaluate import similarity
from medsynth.evaluate.metrics.metric import NAN, Evidence, Metric, Row
from medsynth.judges.resampling import percentile_interval

PAIRS = 200  # of a class; Odena et al. 2017, "Conditional image synthesis with auxiliary classifier GANs", take 100
MOST = 500  # images of a class that pairs are drawn from: all pairs of more do not fit in memory
NAME = "pairwise_ms_ssim"


def _rows(evidence: Evidence) -> Iterator[Row]:
    """The mean over pairs of one class; the floor is that of test images, of two subjects each.

    No direction: noise is like nothing, and copies of one image are all alike. The interval is that of the difference
    from the floor, on both sides of which images are resampled, set upon the floor.
    """
    rng, fits = evidence.rng(), similarity.scales_that_fit(evidence.shape)
    subjects = evidence.test.table["subject_id"].to_numpy(dtype=str)
    of_samples = np.arange(len(evidence.synthetic.table)).astype(str)
    for group in evidence.groups():
        if group.field != evidence.label:
            continue
        real, made = (np.flatnonzero(group.rows(side.table)) for side in (evidence.test, evidence.synthetic))
        counts, people = (len(real), len(made)), len(set(subjects[real]))
        if not fits or min(people, len(made)) < FEWEST_SUBJECTS:
            small = f"{people} test subjects and {len(made)} synthetic images, needs {FEWEST_SUBJECTS} of each"
            small = small if fits else f"images of {evidence.shape} pixels, needs sides of {similarity.WINDOW}"
            yield Row(NAME, group.name, NAN, NAN, NAN, NAN, *counts, None, small)
            continue
        of_made, of_real = pairs(made, of_samples[made], rng), pairs(real, subjects[real], rng)
        values, floors = _values(evidence.synthetic.images, of_made), _values(evidence.test.images, of_real)
        value, floor = float(values.mean()), float(floors.mean())
        draws = evidence.settings.evaluation.bootstrap
        apart = resampled(values, of_made, draws, rng) - resampled(floors, of_real, draws, rng)
        low, high = percentile_interval(floor + apart)
        note = f"{len(values)} pairs, {fits} scales"
        yield Row(NAME, group.name, value, low, high, floor, *counts, None, note)


def pairs(positions: np.ndarray, subjects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(PAIRS, 2) of the positions (n,) at random, fewer where there are no more; no pair is of one subject, or twice.

    Args:
        subjects: (n,) of each position, at least two.
    """
    few = rng.permutation(len(positions))[:MOST]
    positions, subjects = positions[few], subjects[few]
    first, second = np.triu_indices(len(positions), 1)
    apart = np.flatnonzero(subjects[first] != subjects[second])
    chosen = rng.permutation(apart)[:PAIRS]
    return np.stack([positions[first[chosen]], positions[second[chosen]]], 1)


def resampled(values: np.ndarray, chosen: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws,) the mean of `values` (n,) of pairs (n, 2) when images are drawn anew: a pair counts as often as both.

    The same image is in several pairs, which are not independent.
    """
    found, index = np.unique(chosen, return_inverse=True)
    index = index.reshape(chosen.shape)
    counts = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), size=draws)
    weights = (counts[:, index[:, 0]] * counts[:, index[:, 1]]).astype(float)
    total = weights.sum(1)
    return np.where(total > 0, weights @ values / np.maximum(total, 1), np.nan)


def _values(images: Images, chosen: np.ndarray) -> np.ndarray:
    return np.array([similarity.ms_ssim(*(to_intensity(images[int(row)]) for row in pair)) for pair in chosen])


PAIRWISE_MS_SSIM = Metric(frozenset({"images"}), _rows)
