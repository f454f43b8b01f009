"""The verdict on each synthetic image: kept, or rejected with its reasons; or surplus, of which there are enough.

Both checks take their limits from real validation images, so that each limit has a meaning: how often a real image
would fall beyond it. Neither the reader nor the generator learned from them, but both keep the weights that do best on
them: the reader reads them a little better than other images, which makes the second check a little stricter than it
says.

- A copy: more like its nearest training image than the given quantile of the validation images are to theirs
  (`copy_limits`).
- Misread: the reader sees another class, and gives the class that was asked so low a probability that at most
  MISREAD_LEVEL of the real images of that class have one as low (split conformal prediction, Vovk et al. 2005). A
  reader that is unsure of real images gives them low probabilities too, and then rejects little: the check is never
  stricter than the reader is good. It is off for a class of fewer than FEWEST_OF_A_CLASS validation images, and for
  all classes where the reader does not read the label well enough; `off` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsynth.config import Evaluation
from medsynth.config.columns import SURPLUS
from medsynth.config.evaluation import FEWEST_OF_A_CLASS, MISREAD_LEVEL
from medsynth.evaluate.copy_limits import CopyLimits


@dataclass(frozen=True)
class Checks:
    """Limits taken from validation images.

    Attributes:
        copies: from which likeness to a training image on an image is a copy.
        real_probabilities: for each class, what the reader gives it on real images of that class, rising.
        off: why the second check rejects nothing of a class, for those classes.
    """

    copies: CopyLimits
    real_probabilities: dict[str, np.ndarray]
    off: dict[str, str]

    @classmethod
    def from_validation(
        cls,
        copies: CopyLimits,
        label: np.ndarray,
        probabilities: np.ndarray,
        values: tuple[str, ...],
        evaluation: Evaluation,
        inadequate: str = "",
    ) -> Checks:
        """Set the limits.

        Args:
            copies: from which likeness to a training image on an image is a copy.
            label: (n,) classes of the validation images; probabilities: (n, K) what the reader gives each of `values`.
            inadequate: why the reader does not read the label well enough on validation images; empty where it does.
        """
        of_own = requested_probability(label, probabilities, values)
        real = {value: np.sort(of_own[label == value]) for value in values}
        counts = {value: len(of) for value, of in real.items()}
        few = {
            value: f"{count} validation images, needs {FEWEST_OF_A_CLASS}"
            for value, count in counts.items()
            if count < FEWEST_OF_A_CLASS
        }
        whole = inadequate or ("" if evaluation.reject_misread else "reject_misread is false")
        return cls(
            copies,
            real,
            dict.fromkeys(values, whole) if whole else few,
        )

    def conformity(self, asked: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """How common so low a probability is on real images: (1 + images as low) / (1 + images of the class).

        Args:
            asked: (n,) classes; an empty or unknown one has conformity 1.
            probability: (n,) what the reader gave the class that was asked.
        """
        conformity = np.ones(len(asked))
        for value, real in self.real_probabilities.items():
            of_class = asked == value
            as_low = np.searchsorted(real, probability[of_class], side="right")
            conformity[of_class] = (1 + as_low) / (1 + len(real))
        return conformity

    def judge(
        self,
        asked: np.ndarray,
        read: np.ndarray,
        probability: np.ndarray,
        likeness: Mapping[str, np.ndarray],
    ) -> pd.DataFrame:
        """One verdict a row: requested_probability, conformity, verdict (kept or rejected), reason (empty if kept),
        misread_check (on, or why it is off).

        A reason goes out with the dataset, so that it does not name the training image.
        """
        conformity = self.conformity(asked, probability)
        misread = (read != asked) & (conformity <= MISREAD_LEVEL) & ~np.isin(asked, list(self.off))
        reasons = []
        for row in range(len(asked)):
            copied = self.copies.reason({name: float(values[row]) for name, values in likeness.items()})
            found = [copied] if copied else []
            if misread[row]:
                found.append(
                    f"read as {read[row]}, asked {asked[row]} "
                    f"(probability {probability[row]:.3f}, conformity {conformity[row]:.3f} <= {MISREAD_LEVEL})"
                )
            reasons.append("; ".join(found))
        verdicts = ["rejected" if reason else "kept" for reason in reasons]
        columns = {
            "requested_probability": probability,
            "conformity": conformity,
            "verdict": verdicts,
            "reason": reasons,
            "misread_check": [f"off: {self.off[value]}" if value in self.off else "on" for value in asked],
        }
        return pd.DataFrame(columns)


def requested_probability(asked: np.ndarray, probabilities: np.ndarray, values: tuple[str, ...]) -> np.ndarray:
    """Of each row of (n, K), the probability of the class that was asked; 1 where none was."""
    index = pd.Index(values).get_indexer(pd.Index(asked))
    return np.where(index >= 0, probabilities[np.arange(len(asked)), np.maximum(index, 0)], 1.0)


def beyond(verdicts: pd.DataFrame, asked: np.ndarray, wanted: Mapping[str, int]) -> pd.DataFrame:
    """The verdicts with `surplus` in place of `kept` for those beyond the first that are wanted of each value.

    Args:
        verdicts: as `Checks.judge` gives them, n rows in the order of the plan; asked: (n,) the value of each.
        wanted: kept samples of each value; a value that it lacks has no surplus.
    """
    kept = verdicts["verdict"].eq("kept")
    rank = kept.groupby(asked).cumsum()  # of a kept one among those of its value, from 1
    limit = pd.Series(asked, index=verdicts.index).map(wanted).fillna(np.inf)
    surplus = kept & (rank > limit)
    reason = (
        "the plan needs no more than " + limit[surplus].astype(int).astype(str) + " of " + asked[surplus.to_numpy()]
    )
    return verdicts.assign(
        verdict=verdicts["verdict"].mask(surplus, SURPLUS),
        reason=verdicts["reason"].mask(surplus, reason.reindex(verdicts.index)),
    )
