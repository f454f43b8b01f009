"""What to sample of a dataset: how many images of what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medsynth.config.section import Count, Strict


class PerClass(Strict):
    """A number of samples for each value of one condition."""

    kind: Literal["per_class"]
    column: str
    """A categorical or ordinal condition."""
    counts: dict[str, Annotated[int, Field(ge=0)]]
    """Number of samples for each value."""


class Balance(Strict):
    """As many samples as each class lacks to reach the largest class of the training rows."""

    kind: Literal["balance"]
    column: str
    """A categorical or ordinal condition."""


class Oversample(Strict):
    """As many kept samples as each rare class lacks to reach a minimum.

    `limit` times as many are sampled; the first kept ones that are needed are released, the others are surplus.
    """

    kind: Literal["oversample"]
    column: str
    """A categorical or ordinal condition."""
    minimum: Count
    """Training rows and kept samples that each class has together at least."""
    limit: Annotated[float, Field(ge=1, le=100)] = 1.5
    """Samples that are made for each one that a class lacks. Where too few of them are kept, log and card say how many
    lack.
    """


class PlanTable(Strict):
    """One sample for each row of a CSV of conditions."""

    kind: Literal["table"]
    table: str
    """CSV with the condition columns, one synthetic image a row. Empty cells are drawn from the training rows,
    numbers moved towards another row's.
    """


Request = Annotated[PerClass | Balance | Oversample | PlanTable, Field(discriminator="kind")]


class Plan(Strict):
    """What to sample. Counts are of samples before any is judged, except the minimum of `oversample`.

    Elsewhere a rejected sample is not replaced: ask for more, by the `kept_rate` of a first run.
    """

    request: Request
    """How many samples of what."""
    shards: Count = 1
    """Parts that are sampled in parallel; the images do not depend on it."""
