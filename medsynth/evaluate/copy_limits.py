"""From which likeness on an image counts as a copy: limits taken from validation images, which are copies of nothing.

There is a limit for each of the two likenesses, and an image is a copy if it is above either. Each is the conformal
quantile (Vovk et al. 2005) of half the stated share beyond it, so that of real images at most the stated share counts
as copies, on average.

Validation images that do show what a training image shows, such as one picture that was saved twice, would lift a limit
to their own likeness, and no copy would be found. So a limit is capped at what strangers explain: the likeness that
STRICTER times fewer of them would exceed, by a fit which the more alike half of the validation images does not enter
(`strangers`), and at MOST.

Where real images are all alike, as neighbouring slices of one body are, even strangers may be more alike than a copy
that was turned. Then a limit is lowered until the copies that were planted for this are found (`planted.WANTED`), as
long as no more than FALSE_ALARMS of the validation images count as copies by it. Whichever of these acts, the row's
note and the log say so.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsynth.judges.copies import LIKENESSES
from medsynth.judges.planted import WANTED
from medsynth.judges.strangers import stranger_limit

STRICTER = 10
MOST = 0.98
FALSE_ALARMS = 0.05
MARGIN = 2  # a limit misses so many times fewer of the copies that it is set by than of others it may miss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CopyLimits:
    """The limits.

    Attributes:
        above: likeness (whole, parts) → the limit.
        notes: what acted on them beside the stated quantile.
    """

    above: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @classmethod
    def from_validation(
        cls,
        likeness: Mapping[str, np.ndarray],
        training: int,
        quantile: float,
        planted: Mapping[str, np.ndarray] | None = None,
    ) -> CopyLimits:
        """Set the limits.

        Args:
            likeness: whole and parts → (n,) of validation images to the training images most like them.
            training: number of training images.
            quantile: share of real images that are no copies; at 1 no limit is lowered.
            planted: kind of change → (2, m) both likenesses of copies that are to be found.
        """
        beyond = (1 - quantile) / len(LIKENESSES)
        above, notes = {}, []
        for name in LIKENESSES:
            found = _quantile(likeness[name], beyond)
            # A share of 0 leaves nothing to take a cap from: MOST alone holds.
            explained = stranger_limit(likeness[name], training, beyond / STRICTER) if beyond else 1.0
            above[name] = min(found, explained, MOST)
            if above[name] < found:
                notes.append(
                    f"limit of {name} capped at {above[name]:.4f}: some validation images are {found:.4f} like a "
                    "training image, more than strangers are; look for one patient under several subjects"
                )
        limits = cls(above, tuple(notes))
        if beyond and planted:
            limits = limits.lowered(likeness, planted)
        if note := limits.note():
            log.warning("%s", note)
        return limits

    def lowered(self, real: Mapping[str, np.ndarray], planted: Mapping[str, np.ndarray]) -> CopyLimits:
        """These, or lower ones that find planted copies, kind by kind, at the fewest false alarms on real images."""
        limits, helped = self, dict[str, list[str]]()
        copies = {kind: dict(zip(LIKENESSES, found, strict=True)) for kind, found in planted.items()}
        for kind, likeness in copies.items():
            missed = (1 - WANTED[kind]) / MARGIN
            if limits.exceeded(likeness).mean() >= 1 - missed:
                continue
            trials = []
            for name in LIKENESSES:
                rank = max(math.floor((len(likeness[name]) + 1) * missed), 1)
                level = float(np.nextafter(np.sort(likeness[name])[rank - 1], -np.inf))
                trial = CopyLimits({**limits.above, name: level})
                trials.append((trial.exceeded(real).mean(), name, trial))
            alarms, name, trial = min(trials, key=lambda each: each[0])
            if alarms <= FALSE_ALARMS:
                limits = trial
                helped.setdefault(name, []).append(kind)
        alarms = limits.exceeded(real).mean()
        notes = [
            f"limit of {name} lowered from {self.above[name]:.4f} to {limits.above[name]:.4f} to find copies, "
            f"{' and '.join(kinds)}; {alarms:.1%} of the validation images are above the limits"
            for name, kinds in helped.items()
        ]
        for kind, likeness in copies.items():
            if (found := limits.exceeded(likeness).mean()) < WANTED[kind]:
                notes.append(
                    f"of planted copies, {kind}, {found:.0%} are above the limits, {WANTED[kind]:.0%} are wanted; "
                    f"lower ones would take more than {FALSE_ALARMS:.0%} of the validation images for copies"
                )
        return CopyLimits(limits.above, (*self.notes, *notes))

    def exceeded(self, likeness: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) whether each is a copy."""
        return np.logical_or.reduce([likeness[name] > self.above[name] for name in LIKENESSES])

    def reason(self, likeness: Mapping[str, float]) -> str:
        """Why an image is a copy; empty if it is none."""
        what = {"whole": "likeness to a training image", "parts": "likeness of parts to a training image"}
        found = [f"{what[name]} {likeness[name]:.3f} > {self.above[name]:.3f}"
                 for name in LIKENESSES if likeness[name] > self.above[name]]  # fmt: skip
        return "; ".join(found)

    def note(self) -> str:
        """What acted on the limits; empty if nothing did."""
        return "; ".join(self.notes)


def _quantile(likeness: np.ndarray, beyond: float) -> float:
    """What at most a share of further images exceeds on average: an order statistic, the highest if there are few."""
    rank = math.ceil((len(likeness) + 1) * (1 - beyond))
    return float(np.sort(likeness)[min(rank, len(likeness)) - 1])
