"""Is the anatomy that of real images? Volumes of structures and how they hang together, as read beside real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from medsynth.evaluate.metrics.metric import NAN, Evidence, Metric, Row, bootstrap_interval
from medsynth.judges.resampling import percentile_interval

SMALL_EFFECT = 0.2  # of Cohen's d (Cohen 1988)
FRAGMENT = 0.05  # share of a structure below which a part of it is no part of its own
Structures = dict[str, np.ndarray]  # name → (n, *grid) bool where it was read


def volume_effect(synthetic: np.ndarray, real: np.ndarray) -> np.ndarray:
    """|d| (structures,), the difference of mean volumes over the pooled standard deviation (Cohen 1988).

    Args:
        synthetic: (m, structures) volumes; real: (n, structures).
    """
    count = len(synthetic) + len(real) - 2
    squares = [(len(part) - 1) * part.var(0, ddof=1) for part in (synthetic, real)]
    deviation = np.sqrt((squares[0] + squares[1]) / count)
    difference = np.abs(synthetic.mean(0) - real.mean(0))
    return np.divide(difference, deviation, out=np.where(difference > 0, np.inf, 0.0), where=deviation > 0)


def parts_of(structure: np.ndarray) -> np.ndarray:
    """Sizes of the connected parts of (*grid) bool, as shares of the whole, largest first; cells touch at corners."""
    labels, count = ndimage.label(structure, np.ones((3,) * structure.ndim))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return np.sort(sizes)[::-1] / max(sizes.sum(), 1)


def connectedness(parts: list[np.ndarray], usual: int) -> np.ndarray:
    """(n,) the share of a structure that lies in as many parts as it usually has; NaN where it is not there."""
    return np.array([part[:usual].sum() if len(part) else NAN for part in parts])


def _fields(evidence: Evidence) -> Iterator[tuple[str, Structures, Structures, str]]:
    """Each field that places structures: those read in synthetic and in test images, and why they are not read well."""
    for name, kind in evidence.schema.kinds.items():
        synthetic, real = (kind.structures_read(side.reading) for side in (evidence.synthetic, evidence.test))
        if synthetic:
            yield name, synthetic, real, evidence.inadequate.get((name, "mean_dice"), "")


@dataclass(frozen=True)
class Effects:
    """Effects on the volumes of a field's structures.

    Attributes:
        found: (structures,).
        drawn, expected: (draws, structures) of synthetic images drawn with replacement, and of as many test images,
            which is what no difference looks like.
    """

    found: np.ndarray
    drawn: np.ndarray
    expected: np.ndarray


def _rows(
    metric: str,
    higher_is_better: bool,
    of: Callable[[str, Structures, Effects], Iterator[tuple[str, float, np.ndarray, float]]],
    evidence: Evidence,
) -> Iterator[Row]:
    """The rows of a metric of effects; `of` gives the group, value, draws and floor of each."""
    for field, synthetic, real, note in _fields(evidence):
        n, m = (len(next(iter(side.values()))) for side in (real, synthetic))
        if min(n, m) < 2:
            why = "; ".join(filter(None, [note, f"{n} test and {m} synthetic images, needs 2 of each"]))
            yield Row(metric, field, NAN, NAN, NAN, NAN, n, m, higher_is_better, why)
            continue
        for group, value, draws, floor in of(field, synthetic, _effects(synthetic, real, evidence)):
            yield Row(metric, group, value, *percentile_interval(draws), floor, n, m, higher_is_better, note)


def _each(field: str, structures: Structures, effects: Effects) -> Iterator[tuple[str, float, np.ndarray, float]]:
    for place, name in enumerate(structures):
        floor = float(effects.expected[:, place].mean())
        yield f"{field}={name}", float(effects.found[place]), effects.drawn[:, place], floor


def _small(field: str, structures: Structures, effects: Effects) -> Iterator[tuple[str, float, np.ndarray, float]]:
    found, drawn, expected = (part < SMALL_EFFECT for part in (effects.found, effects.drawn, effects.expected))
    yield field, float(found.mean()), drawn.mean(1), float(expected.mean())


def _effects(synthetic: Structures, real: Structures, evidence: Evidence) -> Effects:
    volumes, of_real = (
        np.stack([each.reshape(len(each), -1).mean(1) for each in side.values()], 1) for side in (synthetic, real)
    )
    draws, rng = evidence.settings.evaluation.bootstrap, evidence.rng()
    drawn, expected = (
        np.stack([volume_effect(part[rng.integers(len(part), size=len(volumes))], of_real) for _ in range(draws)])
        for part in (volumes, of_real)
    )
    return Effects(volume_effect(volumes, of_real), drawn, expected)


def _connectedness_rows(evidence: Evidence) -> Iterator[Row]:
    for field, synthetic, real, note in _fields(evidence):
        for structure in synthetic:
            group = f"{field}={structure}"
            yield _connectedness_row(group, synthetic[structure], real[structure], evidence, note)


def _connectedness_row(group: str, synthetic: np.ndarray, real: np.ndarray, evidence: Evidence, note: str) -> Row:
    of_synthetic, of_real = ([parts_of(image) for image in part] for part in (synthetic, real))
    counts = [int((parts > FRAGMENT).sum()) for parts in of_real if len(parts)]
    usual = int(np.median(counts)) if counts else 1
    values, floors = (connectedness(parts, usual) for parts in (of_synthetic, of_real))
    values, floors = values[~np.isnan(values)], floors[~np.isnan(floors)]
    if not len(values):
        why = "; ".join(filter(None, [note, "it was read in no synthetic image"]))
        return Row("connectedness", group, NAN, NAN, NAN, NAN, len(floors), 0, True, why)
    interval = bootstrap_interval(np.mean, [values], evidence.settings.evaluation.bootstrap, evidence.rng())
    floor = float(floors.mean()) if len(floors) else NAN
    return Row("connectedness", group, float(values.mean()), *interval, floor, len(floors), len(values), True, note)


READINGS = frozenset({"readings"})
VOLUME_EFFECT = Metric(READINGS, partial(_rows, "volume_effect", False, _each))
ANATOMICAL_ACCURACY = Metric(READINGS, partial(_rows, "anatomical_accuracy", True, _small))
CONNECTEDNESS = Metric(READINGS, _connectedness_rows)
