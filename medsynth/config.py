"""The schema of config.yaml: one class a section, one settings class a step. Imports neither torch nor pandas.

`load` reads and checks a whole configuration; `Config.prepare`, `.train`, `.sample` and `.evaluate` cut the slice that
one step needs, so that a change of a sampler never retrains a model.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from medsynth.errors import InputError
from medsynth.modalities import MODALITIES

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """A section of the configuration: immutable, and an unknown key is refused with the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, section: Any) -> Any:
        if isinstance(section, dict):
            for key in section:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.0)
                    raise ValueError(f"unknown key {key!r}, did you mean {near[0]!r}?")
        return section


# --- conditions -------------------------------------------------------------------------------------------------


class Categorical(Strict):
    """One of a closed list of values; the column has the field's name."""

    kind: Literal["categorical"]
    values: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values are not distinct: {list(self.values)}")
        return self


class Number(Strict):
    """A number within a range; the column has the field's name."""

    kind: Literal["number"]
    range: tuple[float, float]
    unit: str = ""

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)} does not rise")
        return self


class Spatial(Strict):
    """A lesion's place and size: columns <field>_x, <field>_y (and <field>_z for volumes), <field>_size.

    Places are fractions of the image's extent from its first column, row (and slice); the size is the lesion's
    diameter as a fraction of the image's width. `severity` names the number field that sets the map's strength.
    """

    kind: Literal["spatial"]
    severity: str | None = None


ConditionField = Annotated[Categorical | Number | Spatial, Field(discriminator="kind")]


# --- datasets ---------------------------------------------------------------------------------------------------


class PhantomSource(Strict):
    """Simulated images whose true conditions are known."""

    kind: Literal["phantom"]
    phantom: Name
    count: Annotated[int, Field(ge=1, le=10_000_000)]


class TableSource(Strict):
    """A CSV or TSV with one image a row; its paths are relative to the table's folder."""

    kind: Literal["table"]
    table: str
    allow_outside_root: bool = False
    max_bad_fraction: Fraction = 0.05


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
    """So many images for each value of a categorical column."""

    kind: Literal["per_class"]
    column: str
    counts: dict[str, Annotated[int, Field(ge=0)]]


class Balance(Strict):
    """Fill every class up to the largest class of the training rows."""

    kind: Literal["balance"]
    column: str


class Oversample(Strict):
    """Fill every class that has fewer than `minimum` training rows up to it."""

    kind: Literal["oversample"]
    column: str
    minimum: Count


class PlanTable(Strict):
    """One synthetic image for each row of a CSV of conditions; empty cells are drawn from the training rows."""

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
    split: Split = Split()
    plan: Plan
    models: tuple[Name, ...] | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.modality not in MODALITIES:
            near = difflib.get_close_matches(self.modality, MODALITIES, n=1, cutoff=0.0)
            raise ValueError(f"unknown modality {self.modality!r}, did you mean {near[0]!r}?")
        dims = MODALITIES[self.modality].spatial_dims
        if len(self.size) != dims:
            raise ValueError(f"size has {len(self.size)} axes, modality {self.modality} has {dims}")
        if not isinstance(self.conditions.get(self.label), Categorical):
            raise ValueError(f"label {self.label!r} is not a categorical condition")
        for name, field in self.conditions.items():
            severity = field.severity if isinstance(field, Spatial) else None
            if severity is not None and not isinstance(self.conditions.get(severity), Number):
                raise ValueError(f"conditions.{name}: severity {severity!r} is not a number condition")
        request = self.plan.request
        if not isinstance(request, PlanTable):
            column = self.conditions.get(request.column)
            if not isinstance(column, Categorical):
                raise ValueError(f"plan.request.column {request.column!r} is not a categorical condition")
            for value in request.counts if isinstance(request, PerClass) else ():
                if value not in column.values:
                    raise ValueError(f"plan.request.counts: {value!r} is not one of {list(column.values)}")
        return self


# --- models -----------------------------------------------------------------------------------------------------


class Codec(Strict):
    """A fixed, lossless change of layout before the network: each level halves the resolution."""

    kind: Literal["identity", "pixel_unshuffle", "haar"] = "haar"
    levels: Annotated[int, Field(ge=0, le=4)] = 1


class Augmentation(Strict):
    """Geometric augmentation, told to the network as a condition; flips only where the modality allows them."""

    probability: Fraction = 0.3
    shift: Fraction = 0.06
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 6.0
    scale: Fraction = 0.08


class Training(Strict):
    """The budget and the optimiser. Training ends at `images` or `minutes`, whichever is reached first.

    The averaged weights at `guide_at` of the budget are kept as the weaker model for autoguidance.
    `effective_batch_size` images make one optimiser step; `batch_size` of them go through the network at once.
    """

    images: Count = 100_000
    minutes: Positive | None = None
    effective_batch_size: Count = 16
    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Fraction = 0.05
    decay: Fraction = 0.6
    clip_norm: Positive = 1.0
    ema: Positive = 0.1
    guide_at: Fraction = 0.25
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool | Literal["auto"] = "auto"
    augmentation: Augmentation = Augmentation()
    validate_every: Count = 5_000
    checkpoint_seconds: Positive = 60.0
    patience: Count | None = 5


class DiffusionSampler(Strict):
    """How noise becomes an image: the solver and its steps on the EDM noise schedule, and guidance."""

    solver: Literal["heun", "dpm_solver"] = "dpm_solver"
    steps: Annotated[int, Field(ge=2)] = 16
    batch_size: Count = 64
    guidance: Annotated[float, Field(ge=0)] = 1.0
    autoguidance: Annotated[float, Field(ge=1)] = 1.0
    rho: Positive = 7.0


class Diffusion(Strict):
    """What a diffusion model is trained by: the EDM formulation (Karras et al. 2022) on a U-Net."""

    family: Literal["diffusion"]
    codec: Codec = Codec()
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (48, 96, 128)
    blocks: Count = 1
    condition_dropout: Fraction = 0.1
    sigma_min: Positive = 0.01
    sigma_max: Positive = 80.0
    p_mean: float = -0.8
    p_std: Positive = 1.2
    whitening: Fraction = 1.0
    training: Training = Training()

    @model_validator(mode="after")
    def _noise_falls(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self


class SampledDiffusion(Diffusion):
    """A diffusion model and how it is sampled; a change of the sampler retrains nothing."""

    sampler: DiffusionSampler = DiffusionSampler()


# A second family makes each of these a union, the first two discriminated by `family`.
Trained = Diffusion
Model = SampledDiffusion
Sampler = DiffusionSampler


# --- judging, tracking ------------------------------------------------------------------------------------------


class Evaluation(Strict):
    """How the synthetic images are judged and which of them are kept."""

    bootstrap: Annotated[int, Field(ge=20)] = 200
    neighbours: Count = 5
    max_similarity_quantile: Annotated[float, Field(gt=0, le=1)] = 0.99
    reject_misread: bool = True
    predictor_epochs: Count = 30


class Tracking(Strict):
    uri: str = "sqlite:///mlflow.db"
    experiment: str = "medsynth"


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

    def runs(self) -> list[tuple[str, str]]:
        """Every (dataset, model) pair to train."""
        return [(d, m) for d, dataset in self.datasets.items() for m in dataset.models or self.models]

    def prepare(self, dataset: str) -> PrepareSettings:
        chosen = self.datasets[dataset]
        shared = {key: getattr(chosen, key) for key in PrepareSettings.model_fields if key in Dataset.model_fields}
        return PrepareSettings(seed=self.seed, dataset=dataset, data_root=self.data_root, **shared)

    def train(self, model: str) -> TrainSettings:
        trained = self.models[model].model_dump(exclude={"sampler"})
        return TrainSettings.model_validate({"seed": self.seed, "model": trained})

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


# --- what one step is told --------------------------------------------------------------------------------------


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


class TrainSettings(Strict):
    seed: int
    model: Trained


class SampleSettings(Strict):
    seed: int
    dataset: Name
    model: Name
    data_root: str = "."
    plan: Plan
    sampler: Sampler


class EvaluateSettings(Strict):
    seed: int
    evaluation: Evaluation


Settings = TypeVar("Settings", bound=Strict)


def parse(schema: type[Settings], values: Any, where: str) -> Settings:
    """Check values against a section's schema.

    Raises:
        InputError: one line that names the key, what was got and what was expected.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(f"{where}: {_describe(problem)}" for problem in error.errors())) from None


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "top level"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
    return f"{key}: {message}{got}"


def parse_json(schema: type[Settings], text: str, where: str) -> Settings:
    """Check a JSON text, as a rule hands it to a step."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    return parse(schema, values, where)


def load(path: Path) -> Config:
    """Read and check a config.yaml."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    return parse(Config, values, str(path))
