"""Which part of the subjects models learn from, and which judge them."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from medsynth.config.section import Fraction, Strict


class Split(Strict):
    """Shares of the subjects; all images of a subject fall in one part.

    A `split` column in the table overrides them.
    """

    train: Fraction = 0.7
    """Share that models learn from."""
    val: Fraction = 0.15
    """Share that ends training, selects the weights of generator and reader, and sets the limits of the verdicts."""
    test: Fraction = 0.15
    """Share that samples are measured against."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6 or min(self.train, self.val, self.test) <= 0:
            raise ValueError(f"train, val and test must each be above 0 and add up to 1, got {total:g}")
        return self


SPLITS = tuple(Split.model_fields)  # in the order that a store keeps them
