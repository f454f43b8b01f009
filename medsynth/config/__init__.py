"""The schema of config.yaml: one class a section, one settings class a step. Imports neither torch nor pandas.

`load` reads and checks a whole configuration; `Config.prepare`, `.train`, `.tune`, `.sample`, `.evaluate`, `.judge`,
`.release` and `.track` cut the slice that one step needs, so that a change of a sampler never retrains its model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from medsynth import registry
from medsynth.config import choices
from medsynth.config.addresses import public
from medsynth.config.base_model import NO_PARENT
from medsynth.config.conditions import (
    Categorical,
    ConditionField,
    FieldSettings,
    Lesions,
    Mask,
    MultiLabel,
    Number,
    Ordinal,
)
from medsynth.config.datasets import Bins, Dataset, PhantomSource, TableSource
from medsynth.config.education import EducateSettings, Education, VarySettings
from medsynth.config.evaluation import Evaluation, refuse_bad_subgroups
from medsynth.config.family import Family, Role, Sampler
from medsynth.config.gates import Gates
from medsynth.config.judged import judged, refuse_unknown_target
from medsynth.config.judges import Judges
from medsynth.config.membership import Membership, MembershipSettings
from medsynth.config.models import AnySampler, Model
from medsynth.config.plans import Balance, Oversample, PerClass, Plan, PlanTable, Request
from medsynth.config.section import Name, Settings, Strict, parse, parse_json, refuse_unknown
from medsynth.config.split import SPLITS, Split
from medsynth.config.steps import (
    EvaluateSettings,
    GatesSettings,
    InsertSettings,
    PrepareSettings,
    ReferenceSettings,
    ReleaseSettings,
    SampleSettings,
    TrackSettings,
    TrainSettings,
    TuneSettings,
)
from medsynth.config.tracking import Tracking
from medsynth.config.tuning import Tuning
from medsynth.config.utility import Utility, UtilitySettings
from medsynth.errors import InputError

__all__ = [
    "SPLITS",
    "AnySampler",
    "Balance",
    "Bins",
    "Categorical",
    "ConditionField",
    "Config",
    "Dataset",
    "EducateSettings",
    "Education",
    "EvaluateSettings",
    "Evaluation",
    "Family",
    "FieldSettings",
    "Gates",
    "GatesSettings",
    "InsertSettings",
    "Judges",
    "Lesions",
    "Mask",
    "MembershipSettings",
    "Model",
    "MultiLabel",
    "Number",
    "Ordinal",
    "Oversample",
    "PerClass",
    "PhantomSource",
    "Plan",
    "PlanTable",
    "PrepareSettings",
    "ReferenceSettings",
    "ReleaseSettings",
    "Request",
    "Role",
    "SampleSettings",
    "Sampler",
    "Settings",
    "Split",
    "Strict",
    "TableSource",
    "TrackSettings",
    "Tracking",
    "TrainSettings",
    "TuneSettings",
    "Tuning",
    "Utility",
    "UtilitySettings",
    "VarySettings",
    "load",
    "parse",
    "parse_json",
]

Run = tuple[str, str]  # dataset and model


class Config(Strict):
    """The top level of a configuration file."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """The one seed: splits, initial weights and the noise of every sample derive from it."""
    results: str = "results"
    """Folder of all outputs, below the working directory; its name is not empty and does not begin with `-`."""
    data_root: str = "."
    """Folder that table paths count from, below the working directory unless absolute."""
    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    """The image collections, by name."""
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    """The generative models, by name."""
    judges: Judges = Judges()
    """What judges samples; fixed by real images before a model exists."""
    evaluation: Evaluation = Evaluation()
    """How samples are judged."""
    gates: Gates = Gates()
    """What a run must reach to be released."""
    utility: Utility | None = None
    """What samples are worth to a classifier; null does not measure it."""
    membership: Membership | None = None
    """Whether models tell their training images from held-out ones; null does not measure it."""
    tracking: Tracking = Tracking()
    """Where runs are logged."""

    @field_validator("results")
    @classmethod
    def _is_a_folder(cls, results: str) -> str:
        if not results.strip() or results.startswith("-"):  # commands take it for the root, or for an option
            raise ValueError("expected a folder, whose name is not empty and does not begin with '-'")
        return results

    @model_validator(mode="after")
    def _models_exist(self) -> Self:
        for name, dataset in self.datasets.items():
            refuse_unknown(f"model in datasets.{name}.models", dataset.models or (), self.models)
            refuse_bad_subgroups(self.evaluation, dataset.conditions)
        refuse_unknown_target(self)
        return self

    @field_validator("models")
    @classmethod
    def _names_are_free(cls, models: dict[str, Family]) -> dict[str, Family]:
        if NO_PARENT in models:
            raise ValueError(f"{NO_PARENT!r} is no model's name: in `parents` it stands for no model")
        return models

    @model_validator(mode="after")
    def _parents_fit(self) -> Self:
        for name, model in self.models.items():
            try:
                self._check_parents(model)
            except ValueError as error:
                raise ValueError(f"models.{name}: {error}") from None
        return self

    @model_validator(mode="after")
    def _extractors_fit(self) -> Self:
        for name, dataset in self.datasets.items():
            try:
                self.judges.extractor_of(dataset.size)
            except ValueError as error:
                raise ValueError(f"datasets.{name}: {error}") from None
        return self

    @model_validator(mode="after")
    def _runs_are_possible(self) -> Self:
        for run in self.runs():
            self._check_run(run, ())
        return self

    def _check_parents(self, model: Family) -> None:
        refuse_unknown("role in parents", model.parents, model.roles)
        for role, needs in model.roles.items():
            if model.parents.get(role, NO_PARENT) == NO_PARENT:
                if needs.required:
                    raise ValueError(f"parents has no {role}, a {model.family} model learns from one")
                continue
            dataset, _, parent = model.parents[role].rpartition("/")
            able = [name for name, other in self.models.items() if other.family in needs.families]
            if parent not in able:
                raise ValueError(
                    f"{role} {parent!r} is not a {' or '.join(needs.families)} model, expected one of {able}"
                )
            if dataset and not needs.elsewhere:
                raise ValueError(f"{role} {model.parents[role]!r} is of a dataset by name, expected {parent!r} alone")
            if dataset:
                refuse_unknown(f"dataset of {role}", [dataset], self.datasets)
        model.check_parents(self._parent_settings(model))

    def _check_run(self, run: Run, children: tuple[Run, ...]) -> None:
        """Check a run and its parents before any work is done.

        Raises:
            ValueError: it begins from itself; its size, conditions or channels do not fit.
        """
        if run in children:
            chain = " from ".join("/".join(each) for each in (*children[children.index(run) :], run))
            raise ValueError(f"a model cannot begin from itself: {chain}")
        dataset, model = self.datasets[run[0]], self.models[run[1]]
        where = f"datasets.{run[0]} and models.{run[1]}"
        if reason := model.misfit(dataset.size):
            raise ValueError(f"{where}: {reason}")
        try:
            model.check_parents(self._parents_for_images(*run), dataset.size)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        for name, field in dataset.conditions.items():
            if field.kind not in model.honours:
                able = ", ".join(sorted(model.honours))
                raise ValueError(f"{where}: a {model.family} model follows {able}, conditions.{name} is {field.kind}")
        kinds = {field.kind for field in dataset.conditions.values()}
        for key, kind in model.needs().items():
            if kind not in kinds:
                got = ", ".join(sorted(kinds)) or "none"
                raise ValueError(f"{where}: {key} needs a condition of kind {kind}, the dataset has {got}")
        refuse_unknown(f"condition in models.{run[1]}.sampler", model.sampler.fields, dataset.conditions)
        for role, parent in self.parents(*run).items():
            axes, of_parent = len(dataset.size), len(self.datasets[parent[0]].size)
            if axes != of_parent:
                raise ValueError(
                    f"{where}: {role} {'/'.join(parent)} makes images of {of_parent} axes, expected {axes}"
                )
            self._check_run(parent, (*children, run))

    def runs(self) -> list[Run]:
        """Every (dataset, model) pair to train."""
        return [(d, m) for d, dataset in self.datasets.items() for m in dataset.models or self.models]

    def parents(self, dataset: str, model: str) -> dict[str, Run]:
        """Role → the run that a run begins from or learns from."""
        named = {role: name.rpartition("/") for role, name in _named(self.models[model]).items()}
        return {role: (place or dataset, parent) for role, (place, _, parent) in named.items()}

    def _parents_for_images(self, dataset: str, model: str) -> dict[str, Family]:
        parents = self.parents(dataset, model).items()
        return {role: self.models[parent].for_images(self.datasets[of].size) for role, (of, parent) in parents}

    def _parent_settings(self, model: Family) -> dict[str, Family]:
        return {role: self.models[name.rpartition("/")[2]] for role, name in _named(model).items()}

    def chosen(self, step: str, dataset: str, model: str = "") -> set[registry.Entry]:
        """Registry entries that a step depends on, for one dataset and, where the step has one, one model."""
        return choices.CHOSEN[step](self, dataset, model)

    def prepare(self, dataset: str) -> PrepareSettings:
        chosen = self.datasets[dataset]
        shared = {key: getattr(chosen, key) for key in PrepareSettings.model_fields if hasattr(chosen, key)}
        return PrepareSettings(seed=self.seed, dataset=dataset, data_root=self.data_root, **shared)

    def train(self, dataset: str, model: str) -> TrainSettings:
        chosen = self.models[model]
        base = chosen.base(self.datasets[dataset].image_shape)
        whole = TrainSettings(
            seed=self.seed,
            model=chosen.for_images(self.datasets[dataset].size),
            parents=self._parents_for_images(dataset, model),
            base=base.sha256 if base else None,
        )
        return TrainSettings.model_validate(whole.model_dump())  # as the step is given it, without samplers

    def sample(self, dataset: str, model: str) -> SampleSettings:
        plan = self.datasets[dataset].plan
        return SampleSettings(seed=self.seed, dataset=dataset, model=model, data_root=self.data_root, plan=plan)

    def tune(self, dataset: str, model: str) -> TuneSettings:
        """What the user wrote in `sampler` is fixed: only the other keys are tried."""
        chosen = self.models[model].for_images(self.datasets[dataset].size)
        candidates = chosen.candidates(tuple(self.datasets[dataset].conditions))
        free = {key: values for key, values in candidates.items() if key not in chosen.sampler.model_fields_set}
        return TuneSettings(seed=self.seed, sampler=chosen.sampler, candidates=free, tuning=chosen.tuning)

    def reference(self, dataset: str) -> ReferenceSettings:
        extractor = self.judges.extractor_of(self.datasets[dataset].size)
        judges = self.judges.model_dump(include={"reader_epochs", "readers", "planted_copies"})
        return ReferenceSettings(seed=self.seed, extractor=extractor, **judges)

    def evaluate(self, dataset: str) -> EvaluateSettings:
        return EvaluateSettings(seed=self.seed, evaluation=self.evaluation, oversample=self._oversample(dataset))

    def worth(self, dataset: str) -> UtilitySettings:
        assert self.utility is not None  # no rule asks for it otherwise
        return UtilitySettings(seed=self.seed, utility=self.utility.for_images(self.datasets[dataset].size))

    def audit(self) -> MembershipSettings:
        assert self.membership is not None  # no rule asks for it otherwise
        return MembershipSettings(seed=self.seed, membership=self.membership)

    def judge(self, dataset: str) -> GatesSettings:
        return judged(self, self._oversample(dataset))

    def release(self, dataset: str) -> ReleaseSettings:
        chosen = self.datasets[dataset]
        given: Any = {key: getattr(chosen, key) for key in ("handovers", "contrast", "citation")}
        given |= {"formats": chosen.release_formats, "masks": chosen.release_masks, "licence": chosen.stated_licence}
        return ReleaseSettings(**given, oversample=self._oversample(dataset))

    def _oversample(self, dataset: str) -> Oversample | None:
        request = self.datasets[dataset].plan.request
        return request if isinstance(request, Oversample) else None

    def educate(self, dataset: str) -> EducateSettings:
        chosen = self.datasets[dataset].education
        assert chosen is not None  # the target `education` leaves out datasets without the section
        return EducateSettings(seed=self.seed, education=chosen)

    def track(self) -> TrackSettings:
        written = self.model_dump(mode="json", exclude={"results", "tracking"})
        tried = [self.tune(*run).model_dump(mode="json") for run in self.runs()]  # follows from which keys were written
        digest = hashlib.sha256(json.dumps([written, tried], sort_keys=True).encode()).hexdigest()
        return TrackSettings(tracking=self.tracking, datasets=tuple(self.datasets), configuration_sha256=digest)


def _named(model: Family) -> dict[str, str]:
    """Role → the model that has it."""
    return {role: name for role, name in model.parents.items() if name != NO_PARENT}


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
