"""The frames of a strip: one row of the plan, one cell moved, all others as they are where the data allow it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medsynth.conditions.kind import ABSENT
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.along import FORMS, parse_along
from medsynth.config.columns import MASK_OF, NOT_APPLICABLE_TEXT
from medsynth.config.section import refuse_unknown
from medsynth.errors import InputError


def frames_of(
    schema: ConditionSchema,
    planned: pd.DataFrame,
    training: pd.DataFrame,
    along: str,
    held: Mapping[str, str],
    subject: int,
) -> pd.DataFrame:
    """The rows of one strip: the conditions as asked, with sample_id, seed, subject, along, frame and asked.

    The subject's number decides its row of the plan, among those that agree with `held` and have a value in the moved
    column, of these among the ones with the fewest empty or inapplicable cells. Where a category moves, another cell
    that no training row of that category has follows it: a number goes to the nearest that such a row has, a value
    that cannot be there becomes `n/a`.

    Args:
        planned: the rows of the plan as they were sampled; training: the store's training rows.
        along: as `parse_along` reads it; held: column → cell.
    Raises:
        InputError: an unknown column, a cell that cannot be used, or no row of the plan agrees.
    """
    column, values = _moved(schema, along)
    _refuse_bad_cells(schema, training, held, "with")
    base = _base(schema, planned, column, held, subject)
    for name, text in held.items():
        base[name] = text
    rows = []
    for frame, value in enumerate(values):
        row = base | {column: value}
        if column not in schema.numbers:
            row |= _that_go_with(schema, training, column, value, row, set(held))
        _refuse_bad_cells(schema, training, row, f"along {along!r}, frame {frame}")
        name = f"subject {subject}, {column} {value}"
        rows.append(row | {"sample_id": name, "seed": subject, "subject": subject, "along": column, "frame": frame})
    return pd.DataFrame(rows).assign(asked=list(values))


def _moved(schema: ConditionSchema, along: str) -> tuple[str, tuple[str, ...]]:
    try:
        column, values = parse_along(along)
        refuse_unknown("column in along", [column[:120]], schema.columns)
    except ValueError as error:
        raise InputError(str(error)) from None
    values = values or schema.of_column[column].choices(column)
    if len(values) < 2:
        raise InputError(f"along {along!r}: {column} has no list of two values or more, {FORMS}")
    return column, values


def _base(
    schema: ConditionSchema, planned: pd.DataFrame, column: str, held: Mapping[str, str], subject: int
) -> dict[str, str]:
    """The row of the plan that a subject has; a category among `held` must agree, a number need not."""
    able = ~planned[column].isin(ABSENT).to_numpy()
    for name, text in held.items():
        if name not in schema.numbers and text not in ABSENT:
            able &= schema.of_column[name].agrees(name, planned[name].to_numpy(dtype=object), text)
    if not able.any():
        asked = ", ".join(f"{name}={text}" for name, text in held.items())
        raise InputError(f"along {column}: none of {len(planned)} rows of the plan has a value in it"
                         + (f" and {asked}" if asked else ""))  # fmt: skip
    absent = planned[list(schema.columns)].isin(ABSENT).sum(axis=1).to_numpy()
    candidates = np.flatnonzero(able & (absent == absent[able].min()))
    chosen = np.random.default_rng((subject, 1)).choice(candidates)
    kept = [name for name in (*schema.columns, MASK_OF) if name in planned]
    return {name: str(planned[name].iloc[chosen]) for name in kept}


def _that_go_with(
    schema: ConditionSchema, training: pd.DataFrame, column: str, value: str, row: Mapping[str, str], held: set[str]
) -> dict[str, str]:
    """The cells of a row that no training row with the moved category has, as such rows have them."""
    of_value = training[schema.of_column[column].agrees(column, training[column].to_numpy(dtype=object), value)]
    changed = {}
    for name in schema.columns:
        if name == column or name in held or not len(of_value):
            continue
        given = of_value[name][~of_value[name].isin(ABSENT)]
        if row[name] not in ABSENT and not len(given):
            changed[name] = NOT_APPLICABLE_TEXT if (of_value[name] == NOT_APPLICABLE_TEXT).any() else ""
        elif row[name] not in ABSENT and name in schema.numbers:
            numbers = given.astype(float)
            low, high = numbers.min(), numbers.max()
            if not low <= float(row[name]) <= high:
                changed[name] = f"{min(max(float(row[name]), low), high):.6g}"
        elif row[name] == NOT_APPLICABLE_TEXT and not (of_value[name] == NOT_APPLICABLE_TEXT).any():
            changed[name] = ""
    return changed


def _refuse_bad_cells(schema: ConditionSchema, training: pd.DataFrame, cells: Mapping[str, str], where: str) -> None:
    try:
        refuse_unknown(f"column in {where}", (name[:120] for name in cells if name != MASK_OF), schema.columns)
    except ValueError as error:
        raise InputError(str(error)) from None
    if problem := schema.check_row(cells):
        column, reason = problem
        raise InputError(f"{where}: {column} {cells[column][:120]!r}: {reason}")
    for column in schema.columns:
        text = cells.get(column, "")
        if text in ABSENT or column in schema.numbers:
            continue
        if not schema.of_column[column].seen(column, training[column].to_numpy(dtype=object), text):
            raise InputError(f"{where}: {column} {text!r} has no training image, a model cannot draw it")
