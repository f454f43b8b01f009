"""What the classifiers of all arms reach, with intervals over subjects, and how far from the better baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from medsynth.artifacts import measured
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.config.utility import AUROC_GAIN, RECALL_GAIN
from medsynth.judges.resampling import percentile_interval, subject_draws
from medsynth.utility import scores
from medsynth.utility.arms import BASELINES, UNFILTERED, Arm

AUROC, RECALL = "auroc", "recall"
GAINS = {AUROC: AUROC_GAIN, RECALL: RECALL_GAIN}  # what gain.csv calls the gain by samples in a metric
Score = Callable[[np.ndarray, np.ndarray], float]
COLUMNS = (
    "arm", "dose", "metric", "group", "value", "ci_low", "ci_high", "higher_is_better", "baseline", "difference",
    "difference_low", "difference_high", "n_real", "n_synthetic", "n_test", "subjects", "seeds", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Trials:
    """All classifiers on the test images.

    Attributes:
        probability: (arms, seeds, m, classes).
        labels, subjects: (m,) of the test images; labels counted from 0.
        label: name of the condition that the classes are of.
    """

    arms: list[Arm]
    probability: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    label: str
    classes: tuple[str, ...]


def measures(classes: tuple[str, ...]) -> dict[tuple[str, str], tuple[Score, bool]]:
    """Metric and group → its function of probabilities (m, classes) and labels (m,), and whether more is better."""
    found: dict[tuple[str, str], tuple[Score, bool]] = {
        (AUROC, "all"): (scores.auroc, True),
        ("balanced_accuracy", "all"): (scores.balanced_accuracy, True),
        ("calibration_error", "all"): (scores.calibration_error, False),
    }
    return found | {(RECALL, name): (partial(scores.recall, label=n), True) for n, name in enumerate(classes)}


def summary(trials: Trials, draws: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The table of arms, that of single classifiers, and that of gains in the columns of metrics.csv.

    A value is the mean over seeds. Its interval, and that of its difference to the baseline, is of draws of whole
    subjects, which are the same for every arm, and of seeds: both decide what another team would find.
    """
    resampled = list(subject_draws(trials.subjects, draws, seed))
    rng = np.random.default_rng((seed, 1))
    count = trials.probability.shape[1]
    chosen = rng.integers(count, size=(draws, count))  # of seeds
    subjects = len(set(trials.subjects))
    few = f"insufficient: {subjects} test subjects, needs {FEWEST_SUBJECTS}" if subjects < FEWEST_SUBJECTS else ""
    rows, single, gains = [], [], []
    for (metric, group), (score, higher) in measures(trials.classes).items():
        each = np.array([[score(p, trials.labels) for p in arm] for arm in trials.probability])  # (arms, seeds)
        drawn = np.array(
            [
                [np.mean([score(arm[n][images], trials.labels[images]) for n in numbers]) for arm in trials.probability]
                for images, numbers in zip(resampled, chosen, strict=True)
            ]
        )  # (draws, arms)
        values = each.mean(1)
        baselines = [place for place, arm in enumerate(trials.arms) if arm.name in BASELINES]
        best = max(baselines, key=lambda place: values[place] if higher else -values[place])
        for place, arm in enumerate(trials.arms):
            low, high = percentile_interval(drawn[:, place])
            worse, better = percentile_interval(drawn[:, place] - drawn[:, best])
            rows.append((
                arm.name, arm.dose, metric, group, values[place], low, high, higher, trials.arms[best].name,
                values[place] - values[best], worse, better, arm.real, arm.synthetic, len(trials.labels), subjects,
                count, "; ".join(filter(None, (arm.note, few))),
            ))  # fmt: skip
            single += [(arm.name, number, metric, group, each[place, number]) for number in range(count)]
        if metric in GAINS:
            group = group if group == "all" else f"{trials.label}={group}"
            line = {"metric": GAINS[metric], "group": group, "n_real": len(trials.labels)}
            gains.append(line | _gain(trials.arms, values, drawn, best, few))
    return (
        pd.DataFrame(rows, columns=list(COLUMNS)),
        pd.DataFrame(single, columns=["arm", "seed", "metric", "group", "value"]),
        pd.DataFrame(gains, columns=list(measured.COLUMNS)),
    )


def _gain(arms: list[Arm], values: np.ndarray, drawn: np.ndarray, baseline: int, few: str) -> dict[str, object]:
    """The arm with kept samples that is best, against the baseline; for a score of which more is better.

    The interval is for all these arms together, since the best of several is above its true value by chance.

    Args:
        values: (arms,); drawn: (draws, arms).
    """
    able = [place for place, arm in enumerate(arms) if arm.synthetic and arm.name != UNFILTERED]
    if not able:
        return {"n_synthetic": 0, "note": "no sample was kept"}
    best = max(able, key=lambda place: values[place])
    low, high = percentile_interval(drawn[:, best] - drawn[:, baseline], len(able))
    note = f"{arms[best].name} over {arms[baseline].name}"
    return {
        "value": values[best] - values[baseline],
        "ci_low": low,
        "ci_high": high,
        "n_synthetic": arms[best].synthetic,
        "note": "; ".join(filter(None, (note, arms[best].note, few))),
    }
