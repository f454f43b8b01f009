"""The slices of the configuration that steps are given, one class a step."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_serializer, model_validator

from medsynth.config.conditions import ConditionField, refuse_misfits
from medsynth.config.datasets import Fit, PhantomSource, TableSource
from medsynth.config.evaluation import Evaluation
from medsynth.config.family import Family
from medsynth.config.gates import Gate
from medsynth.config.models import AnySampler, Model
from medsynth.config.plans import Oversample, Plan
from medsynth.config.section import Name, Strict, refuse_unknown
from medsynth.config.split import Split
from medsynth.config.tracking import Tracking
from medsynth.config.tuning import Tuning


class PrepareSettings(Strict):
    seed: int
    dataset: Name
    data_root: str = "."
    source: Annotated[PhantomSource | TableSource, Field(discriminator="kind")]
    modality: str
    size: tuple[int, ...]
    fit: Fit
    window_limits: tuple[float, float] | None = None
    laterality: Literal["as_imaged", "left"] = "as_imaged"
    conditions: dict[Name, ConditionField]
    label: str
    strata: tuple[Name, ...] | None = None
    split: Split

    @model_validator(mode="after")
    def _columns_are_free(self) -> Self:
        refuse_misfits(self.conditions, len(self.size))
        return self


class TrainSettings(Strict):
    """Settings of one training.

    Its JSON leaves out samplers, except a parent's that affects the training.

    Attributes:
        base: SHA-256 of the package's weights that it begins with; None where it begins with others, or from scratch.
    """

    seed: int
    model: Model
    parents: dict[str, Model] = {}
    base: str | None = None

    @model_validator(mode="after")
    def _has_its_parents(self) -> Self:
        refuse_unknown("role in parents", self.parents, self.model.roles)
        for role, needs in self.model.roles.items():
            if needs.required and role not in self.parents:
                raise ValueError(f"parents has no {role}, a {self.model.family} model learns from one")
        return self

    @field_serializer("model")
    def _as_trained(self, model: Family) -> dict[str, Any]:
        return model.trained_by()

    @field_serializer("parents")
    def _as_learnt_from(self, parents: dict[str, Family]) -> dict[str, dict[str, Any]]:
        found = {role: parent.trained_by() for role, parent in parents.items()}
        for role, parent in parents.items():
            if self.model.roles[role].sampled:  # images at once and the number format change no path
                found[role]["sampler"] = parent.sampler.model_dump(mode="json", exclude={"batch_size", "precision"})
        return found


class TuneSettings(Strict):
    """How a trained model may be sampled.

    Attributes:
        sampler: as it is configured.
        candidates: key of the sampler → values to try, the most important key first; none that the user has set.
    """

    seed: int
    sampler: AnySampler
    candidates: dict[str, tuple[Any, ...]]
    tuning: Tuning


class SampleSettings(Strict):
    seed: int
    dataset: Name
    model: Name
    data_root: str = "."
    plan: Plan


class InsertSettings(Strict):
    """Lesions drawn into real images.

    Attributes:
        into: column → category of the images that they are drawn into.
        split: that these images are of.
    """

    seed: int
    into: dict[str, str] = {}
    split: Literal["train", "val", "test"] = "train"


class ReferenceSettings(Strict):
    seed: int
    reader_epochs: int
    readers: int
    planted_copies: int
    extractor: str


class EvaluateSettings(Strict):
    """How samples are judged.

    Attributes:
        oversample: how many kept samples are wanted; None where all are.
    """

    seed: int
    evaluation: Evaluation
    oversample: Oversample | None = None


class GatesSettings(Strict):
    """What a run must reach to be released.

    Attributes:
        gates: by name, in the order in which they are told of.
        measured: what the evaluation and further steps were asked to measure.
        targeted: the class that samples are made for; None takes those that `oversample` makes some for.
        oversample: how many kept samples are wanted; None where all are.
    """

    gates: dict[Name, Gate]
    measured: tuple[str, ...]
    targeted: str | None = None
    oversample: Oversample | None = None


class ReleaseSettings(Strict):
    """What is handed over, and in what form.

    Attributes:
        contrast: of MR volumes that all have the same, as BIDS names it.
        masks: hand over the label maps that images were asked for by, of real subjects too.
        licence: that the images are handed over under; None: nothing is released.
        citation: of the training images, for the card.
        oversample: how many kept samples are wanted; None where all are.
    """

    formats: tuple[str, ...]
    handovers: tuple[str, ...] = ()
    contrast: str | None = None
    masks: bool = False
    licence: str | None = None
    citation: str | None = None
    oversample: Oversample | None = None


class TrackSettings(Strict):
    """Where to log, and `configuration_sha256`, the digest of everything in the configuration that affects results."""

    tracking: Tracking
    datasets: tuple[Name, ...]
    configuration_sha256: str
