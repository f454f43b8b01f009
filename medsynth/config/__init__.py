"""The schema of config.yaml: one class a section, one settings class a step. Imports neither torch nor pandas.

`load` reads and checks a whole configuration; `Config.prepare`, `.train`, `.sample`, `.evaluate`, `.release` and
`.track` cut the slice that one step needs, so that a change of a sampler never retrains a model.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, model_validator

from medsynth.config.addresses import public
from medsynth.config.conditions import Categorical, ConditionField, Number, Spatial, refuse_taken_columns
from medsynth.config.datasets import (
    SPLITS,
    Balance,
    Dataset,
    Oversample,
    PerClass,
    PhantomSource,
    Plan,
    PlanTable,
    Request,
    Split,
    TableSource,
)
from medsynth.config.models import (
    AnySampler,
    Augmentation,
    Codec,
    Consistency,
    ConsistencySampler,
    Diffusion,
    DiffusionSampler,
    Distillation,
    Model,
    SampledConsistency,
    SampledDiffusion,
    Sampler,
    Stage,
    Trained,
    Training,
)
from medsynth.config.resolutions import misfit
from medsynth.config.section import Count, Name, Settings, Strict, parse, parse_json
from medsynth.config.tracking import Tracking
from medsynth.errors import InputError

__all__ = [
    "SPLITS",
    "Augmentation",
    "Balance",
    "Categorical",
    "Codec",
    "ConditionField",
    "Config",
    "Consistency",
    "ConsistencySampler",
    "Dataset",
    "Diffusion",
    "DiffusionSampler",
    "Distillation",
    "EvaluateSettings",
    "Evaluation",
    "Model",
    "Number",
    "Oversample",
    "PerClass",
    "PhantomSource",
    "Plan",
    "PlanTable",
    "PrepareSettings",
    "ReleaseSettings",
    "Request",
    "SampleSettings",
    "SampledConsistency",
    "SampledDiffusion",
    "Sampler",
    "Settings",
    "Spatial",
    "Split",
    "Stage",
    "Strict",
    "TableSource",
    "TrackSettings",
    "Tracking",
    "TrainSettings",
    "Trained",
    "Training",
    "load",
    "parse",
    "parse_json",
]


class Evaluation(Strict):
    """How the synthetic images are judged and which of them are kept."""

    bootstrap: Annotated[int, Field(ge=20)] = 200
    neighbours: Count = 5
    max_similarity_quantile: Annotated[float, Field(gt=0, le=1)] = 0.99
    reject_misread: bool = True
    predictor_epochs: Count = 30


class Config(Strict):
    """The whole of config.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    results: str = "results"
    data_root: str = "."
    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    evaluation: Evaluation = Evaluation()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _models_exist(self) -> Self:
        for name, dataset in self.datasets.items():
            for model in dataset.models or ():
                if model not in self.models:
                    near = difflib.get_close_matches(model, self.models, n=1, cutoff=0.0)
                    raise ValueError(f"datasets.{name}.models: unknown model {model!r}, did you mean {near[0]!r}?")
        return self

    @model_validator(mode="after")
    def _teachers_exist(self) -> Self:
        for name, model in self.models.items():
            try:
                model.trained(self.models)
            except ValueError as error:
                raise ValueError(f"models.{name}: {error}") from None
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for dataset, model in self.runs():
            trained = self.train(model).model
            cascade = trained.teacher if isinstance(trained, Consistency) else trained
            if reason := misfit(cascade, self.datasets[dataset].size):
                raise ValueError(f"datasets.{dataset} and models.{model}: {reason}")
        return self

    def runs(self) -> list[tuple[str, str]]:
        """Every (dataset, model) pair to train."""
        return [(d, m) for d, dataset in self.datasets.items() for m in dataset.models or self.models]

    def prepare(self, dataset: str) -> PrepareSettings:
        chosen = self.datasets[dataset]
        shared = {key: getattr(chosen, key) for key in PrepareSettings.model_fields if key in Dataset.model_fields}
        return PrepareSettings(seed=self.seed, dataset=dataset, data_root=self.data_root, **shared)

    def train(self, model: str) -> TrainSettings:
        return TrainSettings(seed=self.seed, model=self.models[model].trained(self.models))

    def sample(self, dataset: str, model: str) -> SampleSettings:
        return SampleSettings(
            seed=self.seed,
            dataset=dataset,
            model=model,
            data_root=self.data_root,
            plan=self.datasets[dataset].plan,
            sampler=self.models[model].sampler,
        )

    def evaluate(self) -> EvaluateSettings:
        return EvaluateSettings(seed=self.seed, evaluation=self.evaluation)

    def release(self, dataset: str) -> ReleaseSettings:
        return ReleaseSettings(formats=self.datasets[dataset].release_formats)

    def track(self) -> TrackSettings:
        made_from = json.dumps(self.model_dump(mode="json", exclude={"results", "tracking"}), sort_keys=True)
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        return TrackSettings(tracking=self.tracking, datasets=tuple(self.datasets), configuration_sha256=digest)


class PrepareSettings(Strict):
    seed: int
    dataset: Name
    data_root: str = "."
    source: Annotated[PhantomSource | TableSource, Field(discriminator="kind")]
    modality: str
    size: tuple[int, ...]
    fit: Literal["crop", "pad"]
    conditions: dict[Name, ConditionField]
    label: str
    split: Split

    @model_validator(mode="after")
    def _columns_are_free(self) -> Self:
        refuse_taken_columns(self.conditions, len(self.size))
        return self


class TrainSettings(Strict):
    seed: int
    model: Trained


class SampleSettings(Strict):
    seed: int
    dataset: Name
    model: Name
    data_root: str = "."
    plan: Plan
    sampler: AnySampler


class EvaluateSettings(Strict):
    seed: int
    evaluation: Evaluation


class ReleaseSettings(Strict):
    formats: tuple[str, ...]


class TrackSettings(Strict):
    """Where to log, and what the workflow is: `configuration_sha256` is the digest of all that decides its results."""

    tracking: Tracking
    datasets: tuple[Name, ...]
    configuration_sha256: str


def load(path: Path) -> Config:
    """Read and check a config.yaml.

    Raises:
        InputError: it cannot be read, is not YAML, or does not fit the schema.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({public(' '.join(str(error).split()))})") from None
    except (ValueError, RecursionError) as error:  # no UTF-8; a date or a number that cannot be; too deeply nested
        raise InputError(f"{path}: cannot be read as YAML ({type(error).__name__})") from None
    return parse(Config, values, str(path))
