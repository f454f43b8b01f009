"""The sampling plan: which images are asked for, each with its conditions and a seed of its own."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.store import Store
from medsynth.conditions.kind import ABSENT
from medsynth.conditions.requests import lacking, read_requests
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Balance, Oversample, PerClass, PlanTable, SampleSettings
from medsynth.config.columns import MASK_OF
from medsynth.errors import InputError
from medsynth.sample.donors import Donors

SEED_BITS = 48  # survives readers that keep numbers as double precision


def sample_seed(seed: int, sample_id: str) -> int:
    """The seed of one sample's noise."""
    digest = hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)


def plan(settings: SampleSettings, store: Store) -> pd.DataFrame:
    """Every sample that is asked for: sample_id, seed, and the condition columns as text.

    Conditions that the request leaves open are those of a training row drawn at random among the rows that agree
    with it; where no row agrees they stay missing. Numbers among them are moved (donors.py). A mask that is asked for
    is that row's own, named by its position in the store.
    """
    training = store.split("train").samples
    schema = store.info.condition_schema
    requested = REQUESTS[settings.plan.request.kind](settings, schema, training)
    _refuse_unknown_values(requested, schema, training)
    rng = np.random.default_rng(np.random.SeedSequence((settings.seed, 1)))
    requested = requested.reindex(columns=list(schema.columns), fill_value="")
    rows, donors = Donors(training, schema, store.info.label).fill(requested, rng)
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
    return _repeat(request.column, _lacking(request.column, schema, training, None))


def _oversample(settings: SampleSettings, schema: ConditionSchema, training: pd.DataFrame) -> pd.DataFrame:
    request = settings.plan.request
    assert isinstance(request, Oversample)
    lack = _lacking(request.column, schema, training, request.minimum)
    return _repeat(request.column, {value: math.ceil(request.limit * count) for value, count in lack.items()})


def _lacking(column: str, schema: ConditionSchema, training: pd.DataFrame, minimum: int | None) -> dict[str, int]:
    values = schema.fields[column].values  # type: ignore[attr-defined]  # the config admits no field without them
    return lacking(values, training[column], minimum)


def _repeat(column: str, counts: dict[str, int]) -> pd.DataFrame:
    return pd.DataFrame({column: [value for value, count in counts.items() for _ in range(count)]}, dtype=str)


def _from_table(settings: SampleSettings, schema: ConditionSchema, training: pd.DataFrame) -> pd.DataFrame:
    request = settings.plan.request
    assert isinstance(request, PlanTable)
    header, rows = read_requests(Path(settings.data_root) / request.table, schema)
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
