"""Is the anatomy that of real images? Volumes of structures and how they hang together, as read beside real ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from medsynth.evaluate.metrics.metric import NAN, Evidence, Metric, Row, bootstrap_interval

SMALL_EFFECT = 0.2  # of Cohen's d (Cohen 1988)
FRAGMENT = 0.05  # share of a structure below which a part of it is no part of its own
ARRANGED = ("volume_effect", "anatomical_accuracy", "connectedness")


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


def _rows(evidence: Evidence) -> Iterator[Row]:
    for name, kind in evidence.schema.kinds.items():
        synthetic, real = (kind.structures_read(side.reading) for side in (evidence.synthetic, evidence.test))
        if synthetic:
            note = evidence.inadequate.get((name, "mean_dice"), "")
            yield from _rows_of(name, synthetic, real, evidence, note)


def _rows_of(
    field: str, synthetic: dict[str, np.ndarray], real: dict[str, np.ndarray], evidence: Evidence, note: str
) -> Iterator[Row]:
    """The floor of an effect is that of as many test images as there are synthetic ones, drawn with replacement."""
    m, n = (len(next(iter(side.values()))) for side in (synthetic, real))
    if min(m, n) < 2:
        why = "; ".join(filter(None, [note, f"{n} test and {m} synthetic images, needs 2 of each"]))
        yield from (Row(of, field, NAN, NAN, NAN, NAN, n, m, None, why) for of in ARRANGED)
        return
    volumes, of_real = (
        np.stack([each.reshape(len(each), -1).mean(1) for each in side.values()], 1) for side in (synthetic, real)
    )
    draws, rng = evidence.settings.evaluation.bootstrap, evidence.rng()
    effects, floors = (
        np.stack([volume_effect(part[rng.integers(len(part), size=m)], of_real) for _ in range(draws)])
        for part in (volumes, of_real)
    )
    effect = volume_effect(volumes, of_real)
    for place, structure in enumerate(synthetic):
        group, floor = f"{field}={structure}", float(floors[:, place].mean())
        yield Row("volume_effect", group, float(effect[place]), *_interval(effects[:, place]), floor, n, m, False, note)
    accuracy, floor = float((effect < SMALL_EFFECT).mean()), float((floors < SMALL_EFFECT).mean())
    interval = _interval((effects < SMALL_EFFECT).mean(1))
    yield Row("anatomical_accuracy", field, accuracy, *interval, floor, n, m, True, note)
    yield from _connectedness_rows(field, synthetic, real, evidence, note)


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _connectedness_rows(
    field: str, synthetic: dict[str, np.ndarray], real: dict[str, np.ndarray], evidence: Evidence, note: str
) -> Iterator[Row]:
    for structure, images in synthetic.items():
        of_synthetic, of_real = ([parts_of(image) for image in part] for part in (images, real[structure]))
        counts = [int((parts > FRAGMENT).sum()) for parts in of_real if len(parts)]
        usual = int(np.median(counts)) if counts else 1
        values, floors = (connectedness(parts, usual) for parts in (of_synthetic, of_real))
        values, floors = values[~np.isnan(values)], floors[~np.isnan(floors)]
        group = f"{field}={structure}"
        if not len(values):
            why = "; ".join(filter(None, [note, "it was read in no synthetic image"]))
            yield Row("connectedness", group, NAN, NAN, NAN, NAN, len(floors), 0, True, why)
            continue
        interval = bootstrap_interval(np.mean, [values], evidence.settings.evaluation.bootstrap, evidence.rng())
        floor = float(floors.mean()) if len(floors) else NAN
        yield Row("connectedness", group, float(values.mean()), *interval, floor, len(floors), len(values), True, note)


ANATOMY = Metric(frozenset({"readings"}), _rows)
