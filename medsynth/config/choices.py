"""Registry entries that each step of a run depends on, for its fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from medsynth import registry
from medsynth.config.conditions import ConditionField
from medsynth.registry import Entry

if TYPE_CHECKING:
    from medsynth.config import Config, TrainSettings


def condition_entries(conditions: Mapping[str, ConditionField]) -> set[Entry]:
    """The kinds of a dataset's conditions."""
    return {registry.CONDITIONS[field.kind] for field in conditions.values()}


def training_entries(settings: TrainSettings, conditions: Mapping[str, ConditionField]) -> set[Entry]:
    """A family, its losses and its parents' families, and the kinds of condition that it is told."""
    models = (settings.model, *settings.parents.values())
    return {*(entry for model in models for entry in model.entries()), *condition_entries(conditions)}


def _prepare(config: Config, dataset: str, model: str) -> set[Entry]:
    chosen = config.datasets[dataset]
    return {*chosen.source.entries(), *condition_entries(chosen.conditions)}


def _train(config: Config, dataset: str, model: str) -> set[Entry]:
    return training_entries(config.train(dataset, model), config.datasets[dataset].conditions)


def _reference(config: Config, dataset: str, model: str) -> set[Entry]:
    extractor = registry.EXTRACTORS[config.reference(dataset).extractor]
    return {extractor, *condition_entries(config.datasets[dataset].conditions)}


def _evaluate(config: Config, dataset: str, model: str) -> set[Entry]:
    return _reference(config, dataset, model) | {registry.METRICS[name] for name in config.evaluation.metrics}


def _none(config: Config, dataset: str, model: str) -> set[Entry]:
    return set()


def _release(config: Config, dataset: str, model: str) -> set[Entry]:
    chosen = config.datasets[dataset]
    formats = {registry.RELEASE_FORMATS[name] for name in chosen.release_formats}
    return formats | {registry.HANDOVERS[name] for name in chosen.handovers}


def _track(config: Config, dataset: str, model: str) -> set[Entry]:
    return condition_entries(config.datasets[dataset].conditions)


CHOSEN: dict[str, Callable[[Config, str, str], set[Entry]]] = {
    "prepare": _prepare,
    "reference": _reference,
    "train": _train,
    "tune": _train,
    "sample": _train,
    "evaluate": _evaluate,
    "utility": _track,
    "membership": _train,
    "gates": _none,
    "browse": _none,
    "release": _release,
    "track": _track,
    "vary": _train,
    "educate": _track,
}
