"""The lines of membership.csv, and what they come to in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsynth.artifacts.measured import Row
from medsynth.conditions.statistics import auroc
from medsynth.config.membership import AUC, CANARY_AUC, FLOOR_AUC, P_VALUE, TPR, MembershipSettings
from medsynth.membership.attack import NAN, Fold, Statistic, in_halves, p_values, tpr_at_fpr, whole, with_interval

ALL = "all"
FEWEST_SUBJECTS = 50  # on each side, without which no absence is concluded
FEWEST_FOR_TPR = 100  # held-out subjects, of whom 1 % are one
CANARY_FOUND = 0.9  # least AUC
LEVEL = 0.05  # of the p-value, below which members are told from others
NOT_FOUND = "insufficient: the planted canary was not found"


@dataclass(frozen=True)
class Sides:
    """Members and others, a row for each subject and a column for each score."""

    members: pd.DataFrame
    others: pd.DataFrame

    @property
    def fewest(self) -> int:
        return min(len(self.members), len(self.others))


@dataclass(frozen=True)
class Canary:
    """Canaries against other validation subjects: by the copy that learnt them, and by the model itself."""

    after: Sides
    before: Sides


@dataclass(frozen=True)
class Scored:
    """The scores of all subjects that were looked at.

    Attributes:
        attack: training subjects against test subjects; floor: validation subjects against these.
        canary: or why there is none.
    """

    attack: Sides
    floor: Sides
    canary: Canary | str


class Attack:
    """One attack: each of its scores, and the best of them.

    Attributes:
        folds: score, or `all` for the best → what is compared.
        p: the same → one-sided p-value.
    """

    def __init__(self, sides: Sides, settings: MembershipSettings) -> None:
        self.sides, self.settings = sides, settings
        members, others = (
            {str(name): side[name].to_numpy() for name in side} for side in (sides.members, sides.others)
        )
        halving, permuting = (np.random.default_rng(np.random.SeedSequence((settings.seed, n))) for n in (8, 9))
        best = in_halves(members, others, halving)
        self.folds: dict[str, list[Fold]] = {ALL: best} | {name: whole(members[name], others[name]) for name in members}
        found = p_values(members, others, settings.membership.permutations, permuting)
        self.p = {name or ALL: value for name, value in found.items()}

    def value(self, group: str, statistic: Statistic) -> tuple[float, tuple[float, float]]:
        """The value of a score, or of the best, and its interval."""
        return with_interval(self.folds[group], statistic, self.settings.membership.bootstrap, self.settings.seed)

    def row(self, metric: str, group: str, statistic: Statistic, floor: float, higher: bool, *notes: str) -> Row:
        """One line; `n_real` are the others, `n_synthetic` the members."""
        value, interval = self.value(group, statistic)
        counts = len(self.sides.others), len(self.sides.members)
        return Row(metric, group, value, *interval, floor, *counts, higher, joined(*notes))

    def threshold_note(self, group: str) -> str:
        """Whether there are enough others to say what 1 % of them is."""
        count = min((len(fold.others) for fold in self.folds[group]), default=0)
        return too_few(count, FEWEST_FOR_TPR, "held-out subjects for a threshold")


def joined(*notes: str) -> str:
    """Those that say something."""
    return "; ".join(filter(None, notes))


def too_few(count: int, needed: int, of: str = "subjects") -> str:
    return f"insufficient: {count} {of}, needs {needed}" if count < needed else ""


def summary(scored: Scored, settings: MembershipSettings) -> list[Row]:
    """All lines: the attack and its floor, the p-values, and the canary, for the best score and for each."""
    canary = list(_canary_rows(scored, settings))
    power = _power(canary[0])
    attack, floor = (Attack(sides, settings) for sides in (scored.attack, scored.floor))
    scores = len(attack.folds) - 1
    few, few_of_floor = too_few(scored.attack.fewest, FEWEST_SUBJECTS), too_few(scored.floor.fewest, FEWEST_SUBJECTS)
    of_auc, of_tpr, of_floor, of_p = [], [], [], []
    counts = len(scored.attack.others), len(scored.attack.members)
    for group in attack.folds:
        of_floor.append(floor.row(FLOOR_AUC, group, auroc, NAN, False, "validation subjects as members", few_of_floor))
        of_auc.append(attack.row(AUC, group, auroc, of_floor[-1].value, False, few, power))
        at_floor, _ = floor.value(group, tpr_at_fpr)
        of_tpr.append(attack.row(TPR, group, tpr_at_fpr, at_floor, False, few, attack.threshold_note(group), power))
        said = few if group != ALL else _said(of_auc[0], attack.p[ALL], floor.p[ALL], few or power, canary[0], scores)
        of_p.append(Row(P_VALUE, group, attack.p[group], NAN, NAN, floor.p[group], *counts, None, said))
    return [*of_auc, *of_tpr, *of_floor, *of_p, *canary]


def nothing_to_measure(why: str) -> Row:
    """The one line of a model that has no score."""
    return Row(AUC, ALL, NAN, NAN, NAN, NAN, 0, 0, False, f"insufficient: {why}")


def _canary_rows(scored: Scored, settings: MembershipSettings) -> Iterator[Row]:
    if isinstance(scored.canary, str):
        yield Row(CANARY_AUC, ALL, NAN, NAN, NAN, NAN, 0, 0, True, scored.canary)
        return
    attack, before = (Attack(sides, settings) for sides in (scored.canary.after, scored.canary.before))
    for group in attack.folds:
        yield attack.row(CANARY_AUC, group, auroc, before.value(group, auroc)[0], True)


def _power(canary: Row) -> str:
    """Why the audit has not shown that it finds anything; empty where it has.

    Args:
        canary: the line of the best score.
    """
    return canary.note or ("" if canary.value >= CANARY_FOUND else NOT_FOUND)


def conclusion(lines: list[Row]) -> str:
    """What all lines come to: the note of the p-value of all scores, or of the one line that there is."""
    return next((line.note for line in lines if (line.metric, line.group) == (P_VALUE, ALL)), lines[0].note)


def _said(found: Row, p: float, of_floor: float, lacking: str, canary: Row, scores: int) -> str:
    """One sentence: a signal, which few subjects are enough for; else what is lacking; else that there was none."""
    if p < LEVEL:
        interval = f"{found.value:.3f} ({found.ci_low:.3f} to {found.ci_high:.3f}), floor {found.floor:.3f}"
        also = f"validation subjects are told from test subjects too: p = {of_floor:.2g}" if of_floor < LEVEL else ""
        return joined(f"training subjects are told from held-out ones: p = {p:.2g}, AUC {interval}", also)
    tests = f"permutation tests of {scores} score{'s' * (scores > 1)}"
    return lacking or f"no membership signal found by {tests}, with power shown by the canary (AUC {canary.value:.2f})"
