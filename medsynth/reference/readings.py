"""How well the readers read held-out real images, field by field: whether what they read from others says anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from medsynth.artifacts.store import Store
from medsynth.conditions.kind import Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.judges.resampling import percentile_interval, subject_draws

DRAWS = 500


@dataclass(frozen=True)
class Row:
    """One line of readings.csv: a statistic on the images of a split, and the criterion that it rests on.

    Attributes:
        ci_low, ci_high, criterion_low, criterion_high: 95 %, a bootstrap over subjects.
        limit: what a reader reaches that does not look at the image; the criterion's interval must lie above it.
        note: why the reader is not adequate; empty where it is.
    """

    split: str
    group: str
    statistic: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    subjects: int
    criterion: str
    criterion_value: float
    criterion_low: float
    criterion_high: float
    limit: float
    adequate: bool
    note: str


def judge(schema: ConditionSchema, split: str, view: Store, reading: Reading, seed: int) -> pd.DataFrame:
    """Every statistic of every field, or of each of its labels.

    Args:
        view: the images of the split that were read, with subject_id.
    """
    table = view.samples.reset_index(drop=True)
    rows: list[Row] = []
    for kind in schema.kinds.values():
        arrays = kind.asked_and_read(table, view.masks, reading, view.images.shape[2:])
        subjects = table["subject_id"].to_numpy()[kind.asked(table, view.masks)]
        for group, part in kind.by_part(arrays):
            for statistic in kind.statistics:
                value = _with_interval(statistic.of, part, subjects, seed)
                of_criterion = value
                if statistic.criterion.name != statistic.name:
                    of_criterion = _with_interval(statistic.criterion.of, part, subjects, seed)
                limit = float(statistic.criterion.limit(*part)) if len(subjects) else float("nan")
                count = len(set(subjects))
                note = _why_not(statistic.criterion.name, of_criterion, limit, split, len(subjects), count)
                rows.append(
                    Row(
                        split,
                        group,
                        statistic.name,
                        *value,
                        len(subjects),
                        count,
                        statistic.criterion.name,
                        *of_criterion,
                        limit,
                        not note,
                        note,
                    )
                )
    return pd.DataFrame(rows, columns=[field.name for field in fields(Row)])


def _why_not(
    criterion: str, of: tuple[float, float, float], limit: float, split: str, images: int, subjects: int
) -> str:
    if subjects < FEWEST_SUBJECTS:
        return f"{subjects} subjects in {split} for it, needs {FEWEST_SUBJECTS}"
    value, low, high = of
    if low > limit:  # NaN is above nothing
        return ""
    if np.isnan(value):
        return f"{criterion} is not defined on {images} {split} images"
    return f"{criterion} {value:.2f} ({low:.2f} to {high:.2f}) on {images} {split} images is not above {limit:.2f}"


def _with_interval(
    of: Callable[..., float], arrays: Sequence[np.ndarray], subjects: np.ndarray, seed: int
) -> tuple[float, float, float]:
    """The number, and its 95 % percentile interval over draws of whole subjects."""
    if not len(subjects):
        return (float("nan"),) * 3
    draws = [of(*(part[rows] for part in arrays)) for rows in subject_draws(subjects, DRAWS, seed)]
    return float(of(*arrays)), *percentile_interval(np.array(draws))
