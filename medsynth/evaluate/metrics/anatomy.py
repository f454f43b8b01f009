"""Is the anatomy that of real images? Volumes of structures and how they hang together, as read beside real ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from medsynth.evaluate.metrics.metric import NAN, Evidence, Metric, Row, bootstrap_interval

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


def _effect_rows(evidence: Evidence) -> Iterator[Row]:
    for field, synthetic, real, note in _fields(evidence):
        found = _effects(synthetic, real, evidence)
        n, m = (len(next(iter(side.values()))) for side in (real, synthetic))
        if found is None:
            yield Row("volume_effect", field, NAN, NAN, NAN, NAN, n, m, False, _too_few(n, m, note))
            continue
        effect, effects, floors = found
        for place, structure in enumerate(synthetic):
            group, floor = f"{field}={structure}", float(floors[:, place].mean())
            interval = _interval(effects[:, place])
            yield Row("volume_effect", group, float(effect[place]), *interval, floor, n, m, False, note)


def _accuracy_rows(evidence: Evidence) -> Iterator[Row]:
    for field, synthetic, real, note in _fields(evidence):
        found = _effects(synthetic, real, evidence)
        n, m = (len(next(iter(side.values()))) for side in (real, synthetic))
        if found is None:
            yield Row("anatomical_accuracy", field, NAN, NAN, NAN, NAN, n, m, True, _too_few(n, m, note))
            continue
        effect, effects, floors = (part < SMALL_EFFECT for part in found)
        interval, floor = _interval(effects.mean(1)), float(floors.mean())
        yield Row("anatomical_accuracy", field, float(effect.mean()), *interval, floor, n, m, True, note)


def _too_few(n: int, m: int, note: str) -> str:
    return "; ".join(filter(None, [note, f"{n} test and {m} synthetic images, needs 2 of each"]))


def _effects(
    synthetic: Structures, real: Structures, evidence: Evidence
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Effects (structures,), and (draws, structures) of synthetic images drawn with replacement and of as many test
    images, which is what no difference looks like; None for fewer than two images on a side."""
    m, n = (len(next(iter(side.values()))) for side in (synthetic, real))
    if min(m, n) < 2:
        return None
    volumes, of_real = (
        np.stack([each.reshape(len(each), -1).mean(1) for each in side.values()], 1) for side in (synthetic, real)
    )
    draws, rng = evidence.settings.evaluation.bootstrap, evidence.rng()
    effects, floors = (
        np.stack([volume_effect(part[rng.integers(len(part), size=m)], of_real) for _ in range(draws)])
        for part in (volumes, of_real)
    )
    return volume_effect(volumes, of_real), effects, floors


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


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


VOLUME_EFFECT, ANATOMICAL_ACCURACY, CONNECTEDNESS = (
    Metric(frozenset({"readings"}), rows) for rows in (_effect_rows, _accuracy_rows, _connectedness_rows)
)
