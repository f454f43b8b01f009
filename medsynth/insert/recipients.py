"""The rows of an insertion: which real image each lesion is drawn into, and what the image is asked to show with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from medsynth.artifacts.store import Store
from medsynth.conditions import regions
from medsynth.conditions.kind import ABSENT, Kind
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import InsertSettings
from medsynth.config.columns import MASK_OF, NOT_APPLICABLE_TEXT
from medsynth.config.section import refuse_unknown
from medsynth.errors import InputError

DRAWN = 5  # this command's place among those that draw by the run's seed


def rows_of(
    settings: InsertSettings, store: Store, header: Sequence[str], asked: Iterable[Sequence[str]]
) -> pd.DataFrame:
    """A row for each lesion that is asked for: its recipient (`position` in the store), seed and conditions.

    Recipients are images of the split that agree with `into` and have no lesion, in random order; one comes again only
    after all others. What the table leaves open is the recipient's own, but for what places or grades lesions, which is
    missing.

    Args:
        header, asked: as `read_requests` gives them.
    Raises:
        InputError: a column or a cell cannot be used, a row places no lesion, or no image can be a recipient.
    """
    schema = store.info.condition_schema
    placing = [kind for kind in schema.kinds.values() if any(kind.placed_by(column) for column in kind.columns)]
    if not placing:
        raise InputError(f"store {store.info.dataset}: no condition is of kind lesions, there is nothing to insert")
    rng = np.random.default_rng(np.random.SeedSequence((settings.seed, DRAWN)))
    order = rng.permutation(_recipients(settings, store, placing))
    positions = np.flatnonzero(store.samples["split"] == settings.split)[order]
    rows = []
    for number, cells in enumerate(asked):
        given = {column: text for column, text in zip(header, cells, strict=True) if text}
        position = int(positions[number % len(positions)])
        row = {column: _cell(column, given, store.samples.iloc[position], placing) for column in schema.columns}
        _refuse_unknown(schema, store, row, number)
        row |= {MASK_OF: str(position)} if schema.needs_mask else {}
        seed = np.random.SeedSequence((settings.seed, DRAWN, number)).generate_state(1, np.uint64)[0]
        rows.append(row | {"sample_id": f"insert-{number:06d}", "seed": int(seed >> 16), "position": position})
    if not rows:
        raise InputError("the table of lesions has no row")
    found = pd.DataFrame(rows)
    without = np.flatnonzero(
        ~regions.surroundings(schema, found, store.info.size).any(tuple(range(1, 1 + schema.spatial_dims)))
    )
    if len(without):
        named = ", ".join(str(number + 1) for number in without[:5])
        raise InputError(
            f"{len(without)} of {len(found)} rows place no lesion, each needs a place and a size: row {named}"
        )
    return found


def _cell(column: str, given: Mapping[str, str], recipient: pd.Series, placing: Sequence[Kind]) -> str:
    if column in given or any(kind.placed_by(column) for kind in placing):
        return given.get(column, "")
    return str(recipient[column])


def _recipients(settings: InsertSettings, store: Store, placing: Sequence[Kind]) -> np.ndarray:
    """Positions within the split of the images that agree with `into` and are known to have no lesion."""
    schema, samples = store.info.condition_schema, store.split(settings.split).samples
    try:
        refuse_unknown("column in into", (column[:120] for column in settings.into), schema.columns)
    except ValueError as error:
        raise InputError(str(error)) from None
    able = np.ones(len(samples), bool)
    for column, text in settings.into.items():
        if column in schema.numbers or (reason := schema.check(column, text)):
            raise InputError(f"into {column} {text[:120]!r}: {'a number' if column in schema.numbers else reason}")
        able &= schema.of_column[column].agrees(column, samples[column].to_numpy(dtype=object), text)
    for kind in placing:
        able &= (samples[list(kind.columns)] == NOT_APPLICABLE_TEXT).all(axis=1).to_numpy()
    if not able.any():
        asked = ", ".join(f"{column}={text}" for column, text in settings.into.items()) or "any label"
        raise InputError(
            f"none of {len(samples)} {settings.split} images has {asked} and {NOT_APPLICABLE_TEXT!r} in all columns "
            "of its lesions, so that a lesion could be drawn into it"
        )
    return np.flatnonzero(able)


def _refuse_unknown(schema: ConditionSchema, store: Store, row: Mapping[str, str], number: int) -> None:
    training = store.split("train").samples
    for column, text in row.items():
        kind = schema.of_column[column]
        if text in ABSENT or column in schema.numbers:
            continue
        if not kind.seen(column, training[column].to_numpy(dtype=object), text):
            raise InputError(f"row {number + 1}: {column} {text!r} has no training image, a model cannot draw it")
