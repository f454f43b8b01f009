"""The search: one key of the sampler after the other, the most important first, each value beside the best so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from medsynth.config import Sampler
from medsynth.errors import InputError
from medsynth.tune.score import Measured, score

AnySampler = TypeVar("AnySampler", bound=Sampler)


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        key, value: what it changes of the setting that was the best before; empty and None for the configured one.
        measured: None where it cannot be sampled.
        gain: how much better than that one it is, as `score` has it with the sign turned, and its standard error.
        taken: whether it replaced that one.
        note: why it cannot be sampled.
    """

    sampler: Sampler
    key: str = ""
    value: Any = None
    measured: Measured | None = None
    gain: tuple[float, float] = (0.0, 0.0)
    taken: bool = False
    note: str = ""


def search(
    start: Sampler,
    candidates: Mapping[str, Sequence[Any]],
    budget: int,
    measure: Callable[[Sampler], Measured],
) -> list[Trial]:
    """Try the values of each key in turn; the last trial that was taken is the choice.

    Args:
        start: the configured sampler, which is tried first and counts not.
        candidates: key → values.
        budget: settings to try beside it.
    Raises:
        InputError: the configured sampler cannot be sampled by.
    """
    best = Trial(start, measured=measure(start), taken=True)
    trials = [best]
    seen = {start.model_dump_json()}
    for key, values in candidates.items():
        of_key: list[Trial] = []
        for value in values:
            if len(trials) + len(of_key) > budget:
                break
            trial = _try(best, key, value, measure, seen)
            if trial is not None:
                of_key.append(trial)
        better = [trial for trial in of_key if _replaces(trial, best)]
        if better:
            chosen = max(better, key=lambda trial: _gain(trial, best))
            best = Trial(**(vars(chosen) | {"taken": True}))
            of_key[of_key.index(chosen)] = best
        trials += of_key
    return trials


def _try(best: Trial, key: str, value: Any, measure: Callable[[Sampler], Measured], seen: set[str]) -> Trial | None:
    """A trial of one value; None where it was tried before."""
    try:
        sampler = type(best.sampler).model_validate(best.sampler.model_dump() | {key: value})
    except ValidationError as error:
        return Trial(best.sampler, key, value, note=error.errors()[0]["msg"].removeprefix("Value error, "))
    if (text := sampler.model_dump_json()) in seen:
        return None
    seen.add(text)
    try:
        measured = measure(sampler)
    except InputError as error:
        return Trial(sampler, key, value, note=str(error))
    assert best.measured is not None
    value_, error_ = score(measured, best.measured)
    return Trial(sampler, key, value, measured, (-value_, error_))


def _replaces(trial: Trial, best: Trial) -> bool:
    """Whether it is better by more than a standard error."""
    return trial.measured is not None and _gain(trial, best) > trial.gain[1]


def _gain(trial: Trial, best: Trial) -> float:
    """By the score, and by what being burnt out counts as."""
    assert trial.measured is not None and best.measured is not None
    return trial.gain[0] + best.measured.burnt_worse - trial.measured.burnt_worse
