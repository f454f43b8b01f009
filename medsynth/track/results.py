"""Reads what is logged for one dataset and model from its result files, without MLflow."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medsynth.artifacts import outcomes
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import ConditionField, Strict, parse
from medsynth.config.columns import PREDICTED
from medsynth.disk import files, tables
from medsynth.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = "model.safetensors"
MODEL_FOLDER = "model"  # among the artifacts: model.json and the weights, as `sample --checkpoint` reads them
STRIP = "strip.png"
EVALUATION = ("metrics.csv", "contact_sheet.png", "curves.png", "adherence.png", "nearest.png")
TUNE = ("tried.csv", "tried.png", "sampler.json")
TUNE_FOLDER = "tune"  # among the artifacts
RELEASE = ("generator.json", "README.md", outcomes.FILE, "SHA256SUMS")
SUFFIXES = {"value": "", "ci_low": ".ci_low", "ci_high": ".ci_high", "floor": ".floor"}


class _Conditions(Strict):
    conditions: dict[str, ConditionField]


class Score(NamedTuple):
    """A number of metrics.csv; `of_all`: the value of a metric over all samples, not over one class."""

    name: str
    value: float
    of_all: bool


@dataclass(frozen=True)
class Data:
    """A dataset of a run: its training data, or its release.

    Attributes:
        context: training or release.
        source: its folder, as the workflow names it.
        columns: column of its table → string or double.
        profile: its numbers and facts.
    """

    name: str
    context: str
    sha256: str
    source: Path
    columns: Mapping[str, str]
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """One dataset and model.

    Attributes:
        key: digest of everything that is read.
        artifacts: file → its folder among the artifacts, none for the top.
        metrics: (name, value, time in ms, step).
        scores: the metrics over all samples, which become tags of the registered model.
        gates: what each gate found, which become tags of the run.
        data: the training data, and the release unless every sample was rejected.
        registered_as: name of the registered model; none where nothing was released or none is wanted.
    """

    dataset: str
    model: str
    key: str
    artifacts: Mapping[Path, str | None]
    params: Mapping[str, str]
    metrics: list[tuple[str, float, int, int]]
    scores: Mapping[str, float]
    gates: Mapping[str, str]
    data: tuple[Data, ...]
    registered_as: str | None
    start_ms: int
    end_ms: int

    @classmethod
    def read(
        cls,
        store: Path,
        train: Path,
        tune: Path,
        evaluation: Path,
        release: Path,
        register: bool,
        measured: Sequence[Path] = (),
    ) -> Results:
        """Read one dataset and model, named by the last two folders of `train`.

        Args:
            measured: tables of further steps in the columns of metrics.csv.
        Raises:
            InputError: a file is missing or damaged, or the released images are not by these weights.
        """
        dataset, model = Path(os.path.abspath(train)).parts[-2:]  # noqa: PTH100  # a link keeps the name that it has here
        info = read_json(train / "model.json", "weights_sha256", "store")
        sampler = read_json(release / "generator.json", "sampler")["sampler"]
        released = tables.read(release / "metadata.csv", ["generator_sha256"])
        registered = register and len(released) > 0  # where every sample was rejected, there is nothing to vouch for
        artifacts = {
            train / "model.json": MODEL_FOLDER,
            **({train / WEIGHTS: MODEL_FOLDER} if registered else {}),
            train / STRIP: None,
            **{tune / name: TUNE_FOLDER for name in TUNE},
            **{evaluation / name: None for name in EVALUATION},
            **{release / name: None for name in RELEASE},
            **dict.fromkeys(measured),
        }
        history = train / "history.csv"
        digests = {path: _sha256(path) for path in (*artifacts, history)}
        _check_weights(info["weights_sha256"], {digests.get(train / WEIGHTS), *released["generator_sha256"]}, release)
        identity = [dataset, model, [[path.name, digest] for path, digest in digests.items()]]
        end_ms = int(history.stat().st_mtime * 1000)
        start_ms, curves = _curves(history, end_ms)
        scores = [score for table in (evaluation / "metrics.csv", *measured) for score in _scores(table)]
        stored = info["store"]
        numbers = _number_columns(stored, str(train / "model.json"))
        learned = Data(
            name=dataset,
            context="training",
            sha256=stored["digest"],
            source=store,
            columns=_typed(tables.read(store / "samples.csv"), numbers),
            profile={"num_rows": stored["rows_out"], "modality": stored["modality"], "size": stored["size"]},
        )
        made = Data(
            name=f"{dataset}-{model}",
            context="release",
            sha256=digests[release / "SHA256SUMS"],
            source=release,
            columns=_typed(released, numbers),
            profile={"num_rows": len(released)},
        )
        return cls(
            dataset=dataset,
            model=model,
            key=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            artifacts=artifacts,
            params=flatten(info) | flatten({"sampler": sampler}),
            metrics=[*curves, *((score.name, score.value, end_ms, 0) for score in scores)],
            scores={score.name: score.value for score in scores if score.of_all},
            gates={found.name: found.said for found in outcomes.outcomes(outcomes.read(release / outcomes.FILE))},
            data=(learned, made) if len(released) else (learned,),
            registered_as=made.name if registered else None,
            start_ms=start_ms,
            end_ms=end_ms,
        )


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON record that has at least these keys.

    Raises:
        InputError: it is not there, or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise InputError(f"track: {path} is damaged ({error}); remove it and make it again") from None
    if missing := [key for key in keys if key not in values]:
        raise InputError(f"track: {path} is damaged (no key {missing[0]!r}); remove it and make it again")
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as `section.key`: text; a list is its JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _sha256(path: Path) -> str:
    try:
        return files.sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"track: {path} cannot be read ({error.strerror})")


def _check_weights(expected: str, found: set[str | None], release: Path) -> None:
    """Refuse a release that is not by the model at hand: what is registered must be what was judged."""
    if strange := found - {expected, None}:
        got = sorted(map(str, strange))[0]
        raise InputError(f"track: {WEIGHTS} or {release} is of the weights {got[:12]}…, model.json of {expected[:12]}…")


def _number_columns(stored: Mapping[str, Any], where: str) -> frozenset[str]:
    """The columns that hold numbers, of the store in model.json."""
    conditions = parse(_Conditions, {"conditions": stored["conditions"]}, where).conditions
    return ConditionSchema(conditions, len(stored["size"])).numbers


def _typed(table: pd.DataFrame, numbers: frozenset[str]) -> dict[str, str]:
    columns = map(str, table.columns)
    return {column: "double" if column.removeprefix(PREDICTED) in numbers else "string" for column in columns}


def _curves(history: Path, end_ms: int) -> tuple[int, list[tuple[str, float, int, int]]]:
    """When training started, and each number of history.csv as (name, value, time in ms, step)."""
    rows = tables.read(history, ["step", "seconds"]).to_dict("records")
    start_ms = end_ms - int(max((float(row["seconds"]) for row in rows), default=0.0) * 1000)
    curves = []
    for row in rows:
        step, at_ms = int(row.pop("step")), start_ms + int(float(row["seconds"]) * 1000)
        curves += [(f"train/{name}", float(text), at_ms, step) for name, text in row.items() if text != ""]
    return start_ms, curves


def _scores(path: Path) -> Iterator[Score]:
    """The numbers of metrics.csv: each value under its metric (and group), its interval and floor beside it."""
    for row in tables.read(path, ["metric", "group", *SUFFIXES]).to_dict("records"):
        name = re.sub(r"[^\w\-./ ]", "_", f"{row['metric']}/{row['group']}".removesuffix("/"))
        for column, suffix in SUFFIXES.items():
            if row[column] != "" and not math.isnan(float(row[column])):
                yield Score(name + suffix, float(row[column]), column == "value" and "=" not in row["group"])
