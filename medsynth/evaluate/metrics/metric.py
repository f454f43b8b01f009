"""What a metric is, and what it may look at: synthetic images against held-out real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from medsynth.artifacts.measured import Row
from medsynth.artifacts.shards import Images
from medsynth.conditions.kind import Kind, Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import EvaluateSettings
from medsynth.evaluate.checks import Checks
from medsynth.evaluate.leaks import Leaks
from medsynth.judges.resampling import percentile_interval

NAN = float("nan")
Function = Callable[..., float]


@dataclass(frozen=True)
class Side:
    """Images of one origin and what was measured of each.

    Attributes:
        table: (n rows) condition cells, and subject_id for real images.
        images: uint16 (n, C, *spatial), on the disk.
        features: (n, d); none where no metric needs them.
        spectrum: (n, C, bands) in dB; none where no metric needs it.
        thumbnails: (n, cells) in [0, 1]; none where no metric needs them.
        texture: (n, d) features of texture; none where no metric needs them.
        similarity, parts: (n,) likeness to the nearest training image, of the whole and of its parts.
        nearest, nearest_image: (n,) its position and name.
        verdicts: (n rows) what the checks say.
        masks: (n, *spatial) label maps: a real image's own, those that synthetic ones were asked for by.
    """

    table: pd.DataFrame
    images: Images
    features: np.ndarray
    spectrum: np.ndarray
    thumbnails: np.ndarray
    texture: np.ndarray
    reading: Reading
    similarity: np.ndarray
    parts: np.ndarray
    nearest: np.ndarray
    nearest_image: np.ndarray
    verdicts: pd.DataFrame
    masks: np.ndarray | None = None

    @property
    def likeness(self) -> dict[str, np.ndarray]:
        """Both likenesses by name."""
        return {"whole": self.similarity, "parts": self.parts}


@dataclass(frozen=True)
class Compared:
    """Held-out images beside what a model makes of them through its latent: uint16 (n, C, *spatial) each.

    Attributes:
        nearest: the training image that is nearest to each.
        rows: (n,) positions among the test images.
    """

    real: np.ndarray
    made: np.ndarray
    nearest: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """All that a metric may look at.

    Attributes:
        strata: the fields by whose values metrics are grouped, each with its values.
        test, synthetic: held-out real images, and the ones that are judged.
        training, training_features, training_spectrum, training_thumbnails, training_texture: of training images, for
            the real-against-real floor.
        planted: by kind of change, (2, n) both likenesses of copies that were planted.
        shape: (*spatial) in pixels.
        reconstructions: of test images; None where the family makes none.
        leaks: likeness to test images; None where no metric needs it.
        inadequate: (field or its part, statistic) → why the readers do not read it well enough from real images.
    """

    schema: ConditionSchema
    label: str
    strata: dict[str, tuple[str, ...]]
    shape: tuple[int, ...]
    test: Side
    synthetic: Side
    training: pd.DataFrame
    training_features: np.ndarray
    training_spectrum: np.ndarray
    training_thumbnails: np.ndarray
    training_texture: np.ndarray
    checks: Checks
    settings: EvaluateSettings
    planted: dict[str, np.ndarray]
    inadequate: Mapping[tuple[str, str], str] = field(default_factory=dict)
    reconstructions: Compared | None = None
    leaks: Leaks | None = None

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.settings.seed)

    def groups(self) -> list[Group]:
        """All images, then those of each value of each stratum."""
        return [
            Group("all"),
            *(Group(f"{name}={value}", name, value) for name in self.strata for value in self.strata[name]),
        ]

    def subgroups(self) -> list[Group]:
        """Groups of people that some images are of, real or synthetic ones."""
        tables = self.test.table, self.synthetic.table
        found: list[Group] = []
        for name, edges in self.settings.evaluation.subgroups.items():
            if (kind := self.schema.kinds.get(name)) and all(name in table for table in tables):
                values = kind.choices(name)
                found += [Group(f"{name}={value}", name, value) for value in values] or bands(kind, edges)
        return [group for group in found if any(group.rows(table).any() for table in tables)]


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
class Band(Group):
    """Images of numbers from `low` on and below `high`."""

    low: float = 0.0
    high: float = math.inf

    def rows(self, table: pd.DataFrame) -> np.ndarray:
        """(n,) which of them are in it; none without a number."""
        numbers = pd.to_numeric(table[self.field], errors="coerce").to_numpy(dtype=float)
        return (numbers >= self.low) & (numbers < self.high)


def bands(kind: Kind, edges: Sequence[float]) -> list[Group]:
    """Bands of a number between edges, from the least on; the last one has the greatest number in it."""
    lowest, highest = kind.settings.range  # type: ignore[attr-defined]  # a number has one
    ends = [lowest, *(edge for edge in edges if lowest < edge < highest), highest]
    return [
        Band(f"{kind.name}={low:g}-{high:g}", kind.name, low=low, high=math.inf if high == highest else high)
        for low, high in pairwise(ends)
    ]


@dataclass(frozen=True)
class Metric:
    """What can be named under `evaluation.metrics`.

    Attributes:
        needs: which parts of the evidence it looks at, beside the table: images, features, spectrum, thumbnails,
            texture, readings, similarity, leaks, verdicts or reconstructions.
        rows: its lines, each named, since the metric of what was read has several.
    """

    needs: frozenset[str]
    rows: Callable[[Evidence], Iterator[Row]]


def statistic_row(
    name: tuple[str, bool | None],
    group: str,
    statistic: Function,
    synthetic: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    evidence: Evidence,
    weights: np.ndarray | None = None,
) -> Row:
    """A statistic of synthetic images with its interval; the floor is the same of real ones.

    The mean of booleans is a share, whose interval is exact; any other statistic has a bootstrap interval.

    Args:
        name: of the metric, and whether higher is better, None where neither is.
        weights: (m,) of the synthetic images, for a share of them.
    """
    metric, higher_is_better = name
    n, m = len(real[0]), len(synthetic[0])
    share = statistic is np.mean and synthetic[0].dtype == bool
    floor = float(statistic(*real)) if n else NAN
    if share and m:
        value = float(np.average(synthetic[0], weights=weights))
    else:
        value = float(statistic(*synthetic)) if m else NAN
    if np.isnan(value):
        note = "what was asked or read does not vary" if m else "no synthetic image was asked for it"
        return Row(metric, group, value, NAN, NAN, floor, n, m, higher_is_better, note)
    if share:
        interval = share_interval(synthetic[0], weights)
    else:
        interval = bootstrap_interval(statistic, synthetic, evidence.settings.evaluation.bootstrap, evidence.rng())
    return Row(metric, group, value, *interval, floor, n, m, higher_is_better, "" if n else "no test image with it")


def share_interval(hits: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Exact 95 % interval of the share of hits (Clopper & Pearson 1934).

    With weights, that of as many images as the weighted share is worth, (sum w)^2 / sum w^2 (Korn & Graubard 1998).

    Args:
        hits: (n,) bool; weights: (n,), not all 0.
    """
    weights = np.ones(len(hits)) if weights is None else weights
    count = weights.sum() ** 2 / (weights**2).sum()
    found = count * float(np.average(hits, weights=weights))
    missed = count - found
    low = stats.beta.ppf(0.025, found, missed + 1) if found > 1e-9 else 0.0
    high = stats.beta.ppf(0.975, found + 1, missed) if missed > 1e-9 else 1.0
    return float(low), float(high)


def image_rows(
    name: tuple[str, bool | None], of: Callable[[Side], np.ndarray], statistic: Function, evidence: Evidence
) -> Iterator[Row]:
    """Something known of each image; the floor is the same of test images."""
    for group in evidence.groups():
        synthetic, real = (of(side)[group.rows(side.table)] for side in (evidence.synthetic, evidence.test))
        yield statistic_row(name, group.name, statistic, [synthetic], [real], evidence)


def bootstrap_interval(
    statistic: Function, samples: Sequence[np.ndarray], draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of `statistic(*samples)` over the rows that the arrays share."""
    count = len(samples[0])
    values = [statistic(*(part[rows] for part in samples)) for rows in rng.integers(count, size=(draws, count))]
    return percentile_interval(np.array(values))
