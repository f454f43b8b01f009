"""Whether a model tells its training images from held-out ones: how many are looked at, and how the audit is tried."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from medsynth.config.section import Count, Strict

AUC = "membership_auc"
TPR = "membership_tpr_at_fpr_1"
FLOOR_AUC = "membership_floor_auc"
P_VALUE = "membership_p_value"
CANARY_AUC = "canary_auc"
METRICS = (AUC, TPR, FLOOR_AUC, P_VALUE, CANARY_AUC)  # every name in the column `metric` of membership.csv
LEAST_IN_HALVES = 4  # subjects on each side, of which two can choose a score and two can be told apart


class Membership(Strict):
    """Membership inference: scores of training images beside those of held-out ones, with one value for each subject.

    A copy of the model then learns a few validation images, the canaries: an audit that does not find these has not
    shown that it finds anything.
    """

    subjects: Count = 500
    """Subjects of each split, at most, drawn at random."""
    images: Count = 4
    """Images of a subject, at most, drawn at random; the subject's score is their mean."""
    draws: Count = 3
    """Draws of noise that a score is the mean of; all images get the same noise."""
    batch_size: Count = 32
    """Images that go through the networks at once."""
    canaries: Annotated[int, Field(ge=0)] = 16
    """Validation images, each of another subject, that a copy of the model learns: at least 4, since one half of them
    chooses the score that the other half is found by. 0 plants none, and the audit then says that its power was not
    shown.
    """
    repeats: Count = 50
    """Times that the copy sees each canary, with as many training images beside them."""
    bootstrap: Annotated[int, Field(ge=20)] = 500
    """Draws of subjects, for intervals."""
    permutations: Annotated[int, Field(ge=99)] = 2000
    """Permutations of subjects behind a p-value."""

    @field_validator("canaries")
    @classmethod
    def _can_be_halved(cls, canaries: int) -> int:
        if 0 < canaries < LEAST_IN_HALVES:
            raise ValueError(f"expected 0, or at least {LEAST_IN_HALVES}")
        return canaries


class MembershipSettings(Strict):
    """What the step `membership` is given."""

    seed: int
    membership: Membership
