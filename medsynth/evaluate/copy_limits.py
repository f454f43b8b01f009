"""From which likeness on an image counts as a copy: limits taken from validation images, which are copies of nothing.

There is a limit for each of the two likenesses, and an image is a copy if it is above either. Each is the conformal
quantile (Vovk et al. 2005) of half the stated share beyond it, so that of real images at most the stated share counts
as copies, on average.

Validation images that do show what a training image shows, such as one picture that was saved twice, would lift a limit
to their own likeness, and no copy would be found. So a limit is capped at what strangers explain: the likeness that
STRICTER times fewer of them would exceed, by a fit which the more alike half of the validation images does not enter
(`strangers`), and at MOST. Where that acts, the row's note and the log say so.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsynth.judges.copies import LIKENESSES
from medsynth.judges.strangers import stranger_limit

STRICTER = 10
MOST = 0.98

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CopyLimits:
    """The limits.

    Attributes:
        above: likeness (whole, parts) → the limit.
        capped: likeness → the quantile that the limit would have been; those that were not capped are left out.
    """

    above: Mapping[str, float]
    capped: Mapping[str, float]

    @classmethod
    def from_validation(cls, likeness: Mapping[str, np.ndarray], training: int, quantile: float) -> CopyLimits:
        """Set the limits.

        Args:
            likeness: whole and parts → (n,) of validation images to the training images most like them.
            training: number of training images.
            quantile: share of real images that are no copies.
        """
        beyond = (1 - quantile) / len(LIKENESSES)
        above, capped = {}, {}
        for name in LIKENESSES:
            found = _quantile(likeness[name], beyond)
            # A share of 0 leaves nothing to take a cap from: MOST alone holds.
            explained = stranger_limit(likeness[name], training, beyond / STRICTER) if beyond else 1.0
            above[name] = min(found, explained, MOST)
            if above[name] < found:
                capped[name] = found
        limits = cls(above, capped)
        if note := limits.note():
            log.warning("%s", note)
        return limits

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
        """That, and where, a cap acts; empty if it does not."""
        return "; ".join(
            f"limit of {name} capped at {self.above[name]:.4f}: some validation images are {found:.4f} like a training "
            "image, more than strangers are; look for one patient under several subjects"
            for name, found in self.capped.items()
        )


def _quantile(likeness: np.ndarray, beyond: float) -> float:
    """What at most a share of further images exceeds on average: an order statistic, the highest if there are few."""
    rank = math.ceil((len(likeness) + 1) * (1 - beyond))
    return float(np.sort(likeness)[min(rank, len(likeness)) - 1])
