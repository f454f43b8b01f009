"""Members against others by their scores, one value a subject: how well they are told apart. Functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medsynth.conditions.statistics import auroc
from medsynth.config.membership import LEAST_IN_HALVES
from medsynth.judges.resampling import percentile_interval, subject_draws

NAN = float("nan")
FALSE_POSITIVES = 0.01
Scores = Mapping[str, np.ndarray]  # name → (n,), a value for each subject, higher for members
Statistic = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Fold:
    """The scores of members (n,) and of others (m,) that are compared with each other."""

    members: np.ndarray
    others: np.ndarray


def tpr_at_fpr(members: np.ndarray, others: np.ndarray) -> float:
    """Share of members above a threshold that at most FALSE_POSITIVES of the others are above.

    Source: Carlini et al. 2022, "Membership inference attacks from first principles".
    """
    allowed = int(FALSE_POSITIVES * len(others) + 1e-9)
    return float((members > np.sort(others)[::-1][allowed]).mean())


def whole(members: np.ndarray, others: np.ndarray) -> list[Fold]:
    """One score of all subjects."""
    return [Fold(members, others)]


def in_halves(members: Scores, others: Scores, rng: np.random.Generator) -> list[Fold]:
    """For each half of the subjects, those of the other half by the score that is best on the first.

    What is chosen on a half is measured on the other, so that many scores make no value better by chance. None where
    there are fewer than LEAST_IN_HALVES subjects on a side.
    """
    sides = [members, others]
    counts = [len(next(iter(side.values()))) for side in sides]
    if min(counts) < LEAST_IN_HALVES:
        return []
    halves = [rng.permutation(count) % 2 for count in counts]
    folds = []
    for half in (0, 1):
        chosen = list(zip(sides, (half == of for of in halves), strict=True))
        best = max(members, key=lambda name: auroc(*(side[name][rows] for side, rows in chosen)))
        folds.append(Fold(*(side[best][~rows] for side, rows in chosen)))
    return folds


def with_interval(
    folds: Sequence[Fold], statistic: Statistic, draws: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """The mean of a statistic over the folds, and its 95 % interval over draws of subjects; NaN where there is none."""
    if not folds:
        return NAN, (NAN, NAN)
    value = float(np.mean([statistic(fold.members, fold.others) for fold in folds]))
    drawn = np.zeros(draws)
    for number, fold in enumerate(folds):
        seeds = np.random.SeedSequence((seed, number)).generate_state(2).tolist()
        of_sides = (
            subject_draws(np.arange(len(side)), draws, own)
            for side, own in zip((fold.members, fold.others), seeds, strict=True)
        )
        for draw, (ours, theirs) in enumerate(zip(*of_sides, strict=True)):
            drawn[draw] += statistic(fold.members[ours], fold.others[theirs]) / len(folds)
    return value, percentile_interval(drawn)


def p_values(members: Scores, others: Scores, count: int, rng: np.random.Generator) -> dict[str, float]:
    """How likely the ranks of members are as high if membership does not matter: name → one-sided p, and that of all.

    The sum of the members' ranks (Wilcoxon 1945), with its distribution over permutations of the subjects. For all
    scores together the statistic is the greatest AUC (Westfall & Young 1993), so that their number is allowed for.

    Returns:
        The p-value of each score, and that of all under the name ''.
    """
    n, m = (len(next(iter(side.values()))) for side in (members, others))
    ranks = np.stack([stats.rankdata(np.concatenate([members[name], others[name]])) for name in members])
    is_member = np.arange(n + m) < n
    permuted = rng.permuted(np.tile(is_member, (count, 1)), axis=1)
    observed, by_chance = ranks @ is_member, permuted @ ranks.T  # (scores,), (count, scores)
    # Ties among the scores of subjects make the sums whole or half numbers: those compare exactly.
    found = (1 + (by_chance >= observed).sum(0)) / (1 + count)
    of_all = (1 + (by_chance.max(1) >= observed.max()).sum()) / (1 + count)
    return dict(zip(members, found.tolist(), strict=True)) | {"": float(of_all)}
