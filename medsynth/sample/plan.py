"""The sampling plan: which images are asked for, each with its conditions and a seed of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.store import Store
from medsynth.conditions.kind import ABSENT
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Balance, Oversample, PerClass, PlanTable, SampleSettings
from medsynth.config.columns import MASK_OF, NOT_APPLICABLE_TEXT
from medsynth.disk import tables
from medsynth.errors import InputError

NEIGHBOURS = 5  # training rows among which a drawn number is moved
SEED_BITS = 48  # survives readers that keep numbers as double precision


def sample_seed(seed: int, sample_id: str) -> int:
    """The seed of one sample's noise."""
    digest = hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)


def plan(settings: SampleSettings, store: Store) -> pd.DataFrame:
    """Every sample that is asked for: sample_id, seed, and the condition columns as text.

    Conditions that the request leaves open are those of a training row drawn at random among the rows that agree
    with it, so that they follow the training rows' joint distribution; where no row agrees they stay missing. Numbers
    among them are moved towards another row's: what is handed over lists no patient's own age or lesion. A mask that is
    asked for is that row's own, named by its position in the store.
    """
    training = store.split("train").samples
    schema = store.info.condition_schema
    requested = REQUESTS[settings.plan.request.kind](settings, schema, training)
    _refuse_unknown_values(requested, schema, training)
    rng = np.random.default_rng(np.random.SeedSequence((settings.seed, 1)))
    columns = list(schema.columns)
    rows, donors = _fill(requested.reindex(columns=columns, fill_value=""), training, schema, rng)
    if schema.needs_mask:
        places = np.flatnonzero(store.samples["split"] == "train")
        rows[MASK_OF] = ["" if donor is None else str(places[donor]) for donor in donors]
    ids = [f"{settings.dataset}-{settings.model}-{index:06d}" for index in range(len(rows))]
    rows.insert(0, "sample_id", ids)
    rows.insert(1, "seed", [sample_seed(settings.seed, sample_id) for sample_id in ids])
    return rows


def _per_class(settings: SampleSettings, schema: ConditionSchema, training: pd.DataFrame) -> pd.DataFrame:
    request = settings.plan.request
    assert isinstance(request, PerClass)
    return _repeat(request.column, request.counts)


def _balance(settings: SampleSettings, schema: ConditionSchema, training: pd.DataFrame) -> pd.DataFrame:
    request = settings.plan.request
    assert isinstance(request, Balance)
    return _fill_up(request.column, schema, training, None)


def _oversample(settings: SampleSettings, schema: ConditionSchema, training: pd.DataFrame) -> pd.DataFrame:
    request = settings.plan.request
    assert isinstance(request, Oversample)
    return _fill_up(request.column, schema, training, request.minimum)


def _fill_up(column: str, schema: ConditionSchema, training: pd.DataFrame, target: int | None) -> pd.DataFrame:
    """What each class lacks to have `target` images; None fills up to the largest class."""
    values = schema.fields[column].values  # type: ignore[attr-defined]  # the config admits no field without them
    present = {value: int((training[column] == value).sum()) for value in values}
    wanted = max(present.values()) if target is None else target
    return _repeat(column, {value: max(0, wanted - count) for value, count in present.items()})


def _repeat(column: str, counts: dict[str, int]) -> pd.DataFrame:
    return pd.DataFrame({column: [value for value, count in counts.items() for _ in range(count)]}, dtype=str)


def _from_table(settings: SampleSettings, schema: ConditionSchema, training: pd.DataFrame) -> pd.DataFrame:
    request = settings.plan.request
    assert isinstance(request, PlanTable)
    path = Path(settings.data_root) / request.table
    header, rows = tables.read_rows(path)
    if unknown := [column for column in header if column not in schema.columns]:
        raise InputError(f"{path}: unknown columns {unknown}, expected some of {list(schema.columns)}")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(f"{path}: row {number}: {len(row)} cells, the header has {len(header)}")
        cells = dict(zip(header, row, strict=True))
        if problem := schema.check_row(cells):
            column, reason = problem
            raise InputError(f"{path}: row {number}: {column} {cells[column]!r}: {reason}")
    return pd.DataFrame(rows, columns=header, dtype=str)


REQUESTS: dict[str, Callable[[SampleSettings, ConditionSchema, pd.DataFrame], pd.DataFrame]] = {
    "per_class": _per_class,
    "balance": _balance,
    "oversample": _oversample,
    "table": _from_table,
}


def _refuse_unknown_values(requested: pd.DataFrame, schema: ConditionSchema, training: pd.DataFrame) -> None:
    if not len(requested):
        raise InputError("plan: asks for no image: no class lacks any, or its counts are all 0")
    for column in schema.columns:
        if column not in requested or column in schema.numbers:
            continue
        kind = schema.of_column[column]
        cells = training[column].to_numpy(dtype=object)
        for text in requested[column].unique():
            if text not in ABSENT and not kind.seen(column, cells, text):
                raise InputError(f"plan: {column} {text!r} has no training image, a model cannot draw it")


def _fill(
    requested: pd.DataFrame, training: pd.DataFrame, schema: ConditionSchema, rng: np.random.Generator
) -> tuple[pd.DataFrame, list[int | None]]:
    """Fill each row's empty cells from one training row that agrees with the others, its numbers moved.

    Agreeing means: the same category, a number where a number is asked, `n/a` where that is asked; and, of those
    rows, to be among the tenth that is nearest in the numbers asked.

    Returns:
        The rows, and the training row that each was filled from.
    """
    source = training[list(schema.columns)].to_numpy(dtype=object)
    numbers = _numbers(source, schema)
    subjects = training["subject_id"].to_numpy()
    filled = requested.to_numpy(dtype=object, copy=True)
    places = {column: position for position, column in enumerate(schema.columns)}
    # What a mask shows stays where the mask has it.
    movable = [kind for kind in schema.kinds.values() if not (schema.needs_mask and kind.shown_by_mask)]
    together = [[places[name] for name in names] for kind in movable for names in kind.moved_together]
    agreeing: dict[tuple[str, ...], np.ndarray] = {}
    donors: list[int | None] = []
    for cells in filled:
        asked = tuple(str(cell) for cell in cells)
        if asked not in agreeing:
            agreeing[asked] = _agreeing(asked, source, schema)
        if not len(agreeing[asked]):
            donors.append(None)
            continue
        donor = rng.choice(agreeing[asked])
        donors.append(int(donor))
        empty = cells == ""
        cells[empty] = source[donor, empty]
        for group in together:
            columns = np.array(group)
            columns = columns[empty[columns] & np.isfinite(numbers[donor, columns])]
            if len(columns):
                moved = _between_patients(numbers[:, columns], subjects, donor, agreeing[asked], rng)
                cells[columns] = "" if moved is None else [f"{value:.6g}" for value in moved]
    return pd.DataFrame(filled, columns=list(schema.columns), dtype=str), donors


def _numbers(cells: np.ndarray, schema: ConditionSchema) -> np.ndarray:
    """The cells as numbers; NaN where one is a category, missing or not applicable."""
    numbers = np.full(cells.shape, np.nan)
    for position, column in enumerate(schema.columns):
        if column in schema.numbers:
            given = ~np.isin(cells[:, position].astype(str), ABSENT)
            numbers[given, position] = cells[given, position].astype(float)
    return numbers


def _between_patients(
    numbers: np.ndarray, subjects: np.ndarray, donor: int, agreeing: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """A place about half-way from one training row's numbers to another patient's, of the NEIGHBOURS nearest rows.

    None where no other patient has such numbers. So they are no patient's own, yet lie where patients' lie (as in
    SMOTE; Chawla et al. 2002). What as many rows share stays, and whole numbers stay whole.

    Args:
        numbers: (rows, columns) of one condition; NaN where it has none.
        subjects: (rows,) whose image each is.
        agreeing: rows to look among; where they are few, all rows are.
    """
    known = np.isfinite(numbers).all(1) & (subjects != subjects[donor])
    peers = agreeing[known[agreeing]]
    if len(peers) < NEIGHBOURS:
        peers = np.flatnonzero(known)
    if not len(peers):
        return None
    spread = np.ptp(numbers[peers], axis=0)
    distance = (np.abs(numbers[peers] - numbers[donor]) / np.where(spread > 0, spread, 1)).sum(1)
    other = rng.choice(peers[np.argsort(distance, kind="stable")[:NEIGHBOURS]])
    moved = numbers[donor] + rng.uniform(0.25, 0.75) * (numbers[other] - numbers[donor])
    whole = (numbers[peers] == np.round(numbers[peers])).all(0)
    return np.where(whole, np.round(moved), moved)


def _agreeing(asked: Sequence[str], source: np.ndarray, schema: ConditionSchema) -> np.ndarray:
    """Positions of the training rows that agree with what is asked."""
    match = np.ones(len(source), bool)
    numbers: list[int] = []
    for position, (column, text) in enumerate(zip(schema.columns, asked, strict=True)):
        cells = source[:, position]
        if text == "":
            continue
        if text == NOT_APPLICABLE_TEXT or column not in schema.numbers:
            match &= schema.of_column[column].agrees(column, cells, text)
        else:
            match &= (cells != "") & (cells != NOT_APPLICABLE_TEXT)
            numbers.append(position)
    found = np.flatnonzero(match)
    if not numbers or not len(found):
        return found
    wanted = np.array([float(asked[position]) for position in numbers])
    given = source[np.ix_(found, np.array(numbers))].astype(float)
    spread = np.ptp(given, axis=0)
    distance = (np.abs(given - wanted) / np.where(spread > 0, spread, 1)).sum(1)
    return found[np.argsort(distance, kind="stable")[: -(-len(found) // 10)]]
