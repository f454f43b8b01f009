"""A dataset: where its images come from, what is known of them, and what shall be sampled."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from medsynth import registry
from medsynth.config.conditions import Categorical, ConditionField, Ordinal, refuse_misfits
from medsynth.config.formats import DEFAULTS
from medsynth.config.section import Count, Fraction, Name, Strict, refuse_unknown
from medsynth.images.modalities import MODALITIES


class PhantomSource(Strict):
    """Simulated images whose true conditions are known."""

    kind: Literal["phantom"]
    phantom: Name
    count: Annotated[int, Field(ge=1, le=10_000_000)]

    @field_validator("phantom")
    @classmethod
    def _exists(cls, phantom: str) -> str:
        refuse_unknown("phantom", [phantom], registry.PHANTOMS)
        return phantom

    def entries(self) -> tuple[registry.Entry, ...]:
        """What of the registry it is made of."""
        return (registry.PHANTOMS[self.phantom],)


class TableSource(Strict):
    """A CSV or TSV with one image a row; its paths are relative to the table's folder."""

    kind: Literal["table"]
    table: str
    allow_outside_root: bool = False
    max_bad_fraction: Fraction = 0.05

    def entries(self) -> tuple[registry.Entry, ...]:
        """What of the registry it is made of: its files may be of any format."""
        return tuple(registry.FORMATS.values())


class Split(Strict):
    """Shares of the subjects; a `split` column in the table wins over them."""

    train: Fraction = 0.7
    val: Fraction = 0.15
    test: Fraction = 0.15

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6 or min(self.train, self.val, self.test) <= 0:
            raise ValueError(f"train, val and test must each be above 0 and add up to 1, got {total:g}")
        return self


SPLITS = tuple(Split.model_fields)  # in the order that a store keeps them


class PerClass(Strict):
    """So many samples for each value of a categorical column; what is then rejected is not replaced."""

    kind: Literal["per_class"]
    column: str
    counts: dict[str, Annotated[int, Field(ge=0)]]


class Balance(Strict):
    """Fill every class up to the largest class of the training rows.

    That is what is sampled: what is then rejected is not replaced.
    """

    kind: Literal["balance"]
    column: str


class Oversample(Strict):
    """Fill every class that has fewer than `minimum` training rows up to it.

    That is what is sampled: what is then rejected is not replaced.
    """

    kind: Literal["oversample"]
    column: str
    minimum: Count


class PlanTable(Strict):
    """One sample for each row of a CSV of conditions; empty cells are drawn from the training rows."""

    kind: Literal["table"]
    table: str


Request = Annotated[PerClass | Balance | Oversample | PlanTable, Field(discriminator="kind")]


class Plan(Strict):
    """What to sample, and into how many shards."""

    request: Request
    shards: Count = 1


class Dataset(Strict):
    source: Annotated[PhantomSource | TableSource, Field(discriminator="kind")]
    modality: str
    size: Annotated[tuple[Annotated[int, Field(ge=8)], ...], Field(min_length=2, max_length=3)]
    fit: Literal["crop", "pad"] = "pad"
    conditions: Annotated[dict[Name, ConditionField], Field(min_length=1)]
    label: str
    strata: tuple[Name, ...] | None = None
    split: Split = Split()
    plan: Plan
    models: tuple[Name, ...] | None = None
    release_masks: bool = False
    formats: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @property
    def release_formats(self) -> tuple[str, ...]:
        """The files that each released image is written as, by name."""
        return self.formats or DEFAULTS[len(self.size)]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, *spatial) of each image that a store or a shard holds."""
        return (MODALITIES[self.modality].channels, *self.size)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        refuse_unknown("modality", [self.modality], MODALITIES)
        dims = MODALITIES[self.modality].spatial_dims
        if len(self.size) != dims:
            raise ValueError(f"size has {len(self.size)} axes, modality {self.modality} has {dims}")
        refuse_misfits(self.conditions, dims)
        if not isinstance(self.conditions.get(self.label), Categorical):
            raise ValueError(f"label {self.label!r} is not a categorical condition")
        for name in self.strata or ():
            if not isinstance(self.conditions.get(name), Categorical | Ordinal):
                raise ValueError(f"strata: {name!r} is not a categorical or ordinal condition")
        if self.strata is not None and (self.label not in self.strata or len(set(self.strata)) < len(self.strata)):
            raise ValueError(
                f"strata {list(self.strata)}: expected distinct fields, the label {self.label!r} among them"
            )
        self._refuse_misfitting_formats()
        request = self.plan.request
        if not isinstance(request, PlanTable):
            column = self.conditions.get(request.column)
            if not isinstance(column, Categorical | Ordinal):
                raise ValueError(f"plan.request.column {request.column!r} is not a categorical or ordinal condition")
            for value in request.counts if isinstance(request, PerClass) else ():
                if value not in column.values:
                    raise ValueError(f"plan.request.counts: {value!r} is not one of {list(column.values)}")
        return self

    def _refuse_misfitting_formats(self) -> None:
        if len(set(self.release_formats)) < len(self.release_formats):
            raise ValueError(f"formats: {list(self.release_formats)} names one twice")
        for name in self.release_formats:
            refuse_unknown("format in formats", [name[:120]], registry.RELEASE_FORMATS)
            limits: Any = registry.RELEASE_FORMATS[name].load_settings()
            if reason := limits.misfit(self.image_shape):
                raise ValueError(f"formats: {name} {reason}")
