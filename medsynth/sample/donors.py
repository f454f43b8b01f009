"""The training rows that fill what a request leaves open.

An open condition is that of a training row that agrees with the request, so that conditions follow the training rows'
joint distribution. Numbers are moved, so that no patient's own age or lesion is handed over:

- Towards a row of another patient that agrees in every category, one of the NEIGHBOURS nearest: a place about half-way
  (as in SMOTE; Chawla et al. 2002) lies where patients of this kind lie. Rows with the donor's own numbers do not count
  as neighbours, and whole numbers move by 1 at least: rounding would bring the donor's value back.
- Where fewer than NEIGHBOURS such rows exist, by noise of the class's own spread, within the class's range. Numbers of
  another class are never mixed in.
- A value that a HEAP of these rows and at least NEIGHBOURS other patients share stays: it points to nobody, and moving
  it would change the distribution.
- Where the class has no other patient, the number is left open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medsynth.conditions.kind import ABSENT
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.columns import NOT_APPLICABLE_TEXT

NEIGHBOURS = 5  # training rows among which a drawn number is moved
HEAP = 0.1  # share of the rows alike


class Donors:
    """Training rows, to fill from.

    Attributes:
        cells: (n, columns) text.
        numbers: (n, columns) float, NaN where a cell is a category, missing or not applicable.
        subjects: (n,) whose image each is; classes: (n,) labels; alike: (n,) the same where all categories are.
        whole: (columns,) whether every number is a whole one.
    """

    def __init__(self, training: pd.DataFrame, schema: ConditionSchema, label: str) -> None:
        self.schema = schema
        columns = list(schema.columns)
        self.cells = training[columns].to_numpy(dtype=object)
        self.numbers = np.full(self.cells.shape, np.nan)
        for position, column in enumerate(columns):
            if column in schema.numbers:
                given = ~np.isin(self.cells[:, position].astype(str), ABSENT)
                self.numbers[given, position] = self.cells[given, position].astype(float)
        self.whole = (np.isnan(self.numbers) | (self.numbers == np.round(self.numbers))).all(0)
        self.subjects = training["subject_id"].to_numpy()
        self.classes = training[label].to_numpy()
        categories = [column for column in columns if column not in schema.numbers]
        self.alike = training.groupby(categories, sort=False).ngroup().to_numpy()
        # What a mask shows stays where the mask has it.
        movable = [kind for kind in schema.kinds.values() if not (schema.needs_mask and kind.shown_by_mask)]
        self.together = [
            np.array([columns.index(name) for name in names]) for kind in movable for names in kind.moved_together
        ]

    def fill(self, requested: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, list[int | None]]:
        """Fill each row's empty cells from one training row that agrees with the others, its numbers moved.

        Returns:
            The rows, and the training row that each was filled from; None where none agrees, and cells stay empty.
        """
        filled = requested.to_numpy(dtype=object, copy=True)
        agreeing: dict[tuple[str, ...], np.ndarray] = {}
        donors: list[int | None] = []
        for cells in filled:
            asked = tuple(str(cell) for cell in cells)
            if asked not in agreeing:
                agreeing[asked] = self._agreeing(asked)
            if not len(agreeing[asked]):
                donors.append(None)
                continue
            donor = int(rng.choice(agreeing[asked]))
            donors.append(donor)
            empty = cells == ""
            cells[empty] = self.cells[donor, empty]
            for group in self.together:
                columns = group[empty[group] & np.isfinite(self.numbers[donor, group])]
                if len(columns):
                    moved = self._moved(columns, donor, agreeing[asked], rng)
                    cells[columns] = "" if moved is None else [f"{value:.6g}" for value in moved]
        return pd.DataFrame(filled, columns=list(self.schema.columns), dtype=str), donors

    def _moved(
        self, columns: np.ndarray, donor: int, agreeing: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray | None:
        """A donor's numbers of one condition, moved as this module says; None where the class has no other patient.

        Args:
            columns: their positions; agreeing: rows to look among, where enough of them are alike.
        """
        numbers = self.numbers[:, columns]
        own = numbers[donor]
        known = np.isfinite(numbers).all(1)
        others = known & (self.subjects != self.subjects[donor])
        alike = others & (self.alike == self.alike[donor])
        same = (numbers == own).all(1)
        peers = agreeing[alike[agreeing]]
        if (~same[peers]).sum() < NEIGHBOURS:
            peers = np.flatnonzero(alike)
        sharing = peers[same[peers]]
        if len(sharing) >= HEAP * len(peers) and len(set(self.subjects[sharing])) >= NEIGHBOURS:
            return own
        peers = peers[~same[peers]]
        if len(peers) >= NEIGHBOURS:
            spread = np.ptp(numbers[peers], axis=0)
            distance = (np.abs(numbers[peers] - own) / np.where(spread > 0, spread, 1)).sum(1)
            other = rng.choice(peers[np.argsort(distance, kind="stable")[:NEIGHBOURS]])
            step = rng.uniform(0.25, 0.75) * (numbers[other] - own)
        else:
            of_class = self.classes == self.classes[donor]
            if not (others & of_class).any():
                return None
            step = _noise(own, numbers[known & of_class], rng)
        at_least_one = np.sign(step) * np.maximum(1, np.round(np.abs(step)))
        return own + np.where(self.whole[columns], at_least_one, step)

    def _agreeing(self, asked: Sequence[str]) -> np.ndarray:
        """Positions of the training rows that agree with what is asked.

        That is: the same category, a number where a number is asked, `n/a` where that is asked; and, of those rows, to
        be among the tenth that is nearest in the numbers asked.
        """
        match = np.ones(len(self.cells), bool)
        numbers: list[int] = []
        for position, (column, text) in enumerate(zip(self.schema.columns, asked, strict=True)):
            if text == "":
                continue
            if text == NOT_APPLICABLE_TEXT or column not in self.schema.numbers:
                match &= self.schema.of_column[column].agrees(column, self.cells[:, position], text)
            else:
                match &= np.isfinite(self.numbers[:, position])
                numbers.append(position)
        found = np.flatnonzero(match)
        if not numbers or not len(found):
            return found
        wanted = np.array([float(asked[position]) for position in numbers])
        given = self.numbers[np.ix_(found, np.array(numbers))]
        spread = np.ptp(given, axis=0)
        distance = (np.abs(given - wanted) / np.where(spread > 0, spread, 1)).sum(1)
        return found[np.argsort(distance, kind="stable")[: -(-len(found) // 10)]]


def _noise(own: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A step (d,) from `own`, normal with the bandwidth of a class's (n, d) values by Scott's rule (Scott 1992).

    What would leave their range is reflected at its ends.
    """
    count, dims = values.shape
    low, high = values.min(0), values.max(0)
    span = np.where(high > low, high - low, 1)
    away = own - low + rng.normal(0, 1, dims) * values.std(0) * count ** (-1 / (dims + 4))
    return low + span - np.abs(span - away % (2 * span)) - own
