"""The step `tune`: choose how a trained model is sampled, by what validation subjects say, and write what was tried.

Where these are too few, training images take their place: that samples look like them, and have their texture, is asked
for then, and not that conditions are read from both alike, since a reader knows the images that it was trained on.
Every setting draws the same rows, conditions of validation images, from the same seeds. What the user has set in
`sampler` stays. The budget counts images, not seconds: the choice is the same on every machine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store
from medsynth.artifacts.tuned import Tuned
from medsynth.config import Sampler, TuneSettings
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model, refuse_other_store
from medsynth.models.generation import generate
from medsynth.tune import figures
from medsynth.tune.reading import looking
from medsynth.tune.score import MOST_BURNT
from medsynth.tune.search import Trial, search
from medsynth.tune.yardstick import Asked, Yardstick

log = logging.getLogger(__name__)


def tune(settings: TuneSettings, store: Store, reference: Reference, weights: Path, out: Path) -> None:
    """Write sampler.json, tried.csv, tried.png and contact_sheet.png, whole or not at all.

    Raises:
        InputError: the weights are of another store or family, or the configured sampler cannot be sampled by.
    """
    model, info = load_model(weights, choose_device())
    refuse_other_store(weights, info.store, store.info)
    if settings.sampler.family != info.settings.model.family:
        got, expected = settings.sampler.family, info.settings.model.family
        raise InputError(f"{weights}: is a {expected} model, got the sampler of a {got} model")
    held_out = store.split("val").samples["subject_id"].nunique() >= FEWEST_SUBJECTS
    beside = store.split("val" if held_out else "train")
    reason = _nothing_to_try(settings, beside)
    asked = Asked.of(beside, figures.COLUMNS if reason else settings.tuning.images, settings.seed)
    drawn: dict[str, np.ndarray] = {}  # sampler as JSON → its first images

    def draw(sampler: Sampler) -> np.ndarray:
        images = generate(model, info.store.condition_schema, asked.rows, sampler, asked.masks)
        drawn[sampler.model_dump_json()] = images[: figures.COLUMNS]
        return images

    trials, measures, note = [Trial(settings.sampler, taken=True)], tuple[str, ...](), reason
    if reason:
        draw(settings.sampler)
    else:
        yardstick = Yardstick(beside, asked, settings.seed, looking(reference, store), held_out)
        trials = search(
            settings.sampler,
            settings.candidates,
            settings.tuning.candidates,
            lambda sampler: yardstick.measure(draw(sampler)),
        )
        measures, note = yardstick.measures, _note(trials, yardstick)
    log.info("%s", note)
    configured, chosen = trials[0].sampler, [trial for trial in trials if trial.taken][-1].sampler
    before = configured.model_dump(mode="json")
    changed = {key: value for key, value in chosen.model_dump(mode="json").items() if value != before[key]}
    with folder_written_whole(out) as part:
        table = _table(trials, measures)
        tables.write(part / "tried.csv", table)
        figures.tried(part / "tried.png", table, measures)
        rows = {
            f"real, of {'validation' if held_out else 'training'} subjects": asked.real,
            "as configured": drawn[configured.model_dump_json()],
        }
        if changed:
            rows[f"chosen: {_shown(changed)}"] = drawn[chosen.model_dump_json()]
        figures.contact_sheet(part / "contact_sheet.png", store.info.dataset, rows)
        Tuned(
            sampler=chosen,
            weights_sha256=info.weights_sha256,
            tried=sum(trial.measured is not None for trial in trials[1:]),
            images=len(asked.rows),
            changed=changed,
            note=note,
        ).write(part / "sampler.json")


def _nothing_to_try(settings: TuneSettings, beside: Store) -> str:
    """Why the sampler is taken as it is configured; empty where others are tried.

    Args:
        beside: the images that settings would be compared by.
    """
    if not settings.tuning.candidates:
        return "taken as configured: tuning.candidates is 0"
    if not settings.candidates:
        return "taken as configured: no key of the sampler is left to try"
    if (count := beside.samples["subject_id"].nunique()) < FEWEST_SUBJECTS:
        return f"taken as configured: {count} training subjects, comparing settings needs {FEWEST_SUBJECTS}"
    return ""


def _note(trials: Sequence[Trial], yardstick: Yardstick) -> str:
    taken = [trial for trial in trials if trial.taken]
    parts = [
        f"{len(taken) - 1} of {len(trials) - 1} settings were better than the one before by more than a standard "
        f"error, by {', '.join(yardstick.measures)}"
    ]
    if not yardstick.held_out:
        parts.append(
            f"compared by training images, since there are fewer than {FEWEST_SUBJECTS} validation subjects: how well "
            "conditions are followed is left out"
        )
    elif yardstick.left_out:
        parts.append(f"not read from real images, and left out: {', '.join(yardstick.left_out)}")
    measured = taken[-1].measured
    if measured is not None and measured.is_burnt:
        parts.append(f"{measured.burnt:.0%} of the images are burnt out, at most {MOST_BURNT:.0%} are expected")
    return "; ".join(parts)


def _table(trials: Sequence[Trial], measures: Sequence[str]) -> pd.DataFrame:
    """tried.csv: a row for each setting; six digits, so that rounding elsewhere does not show."""
    rows = []
    for trial in trials:
        measured = trial.measured
        values = [""] * len(measures) if measured is None else [f"{value:.6g}" for value in measured.values[:, 0]]
        gain, error = ("", "") if measured is None else (f"{number:.6g}" for number in trial.gain)
        row = {"setting": _shown({trial.key: trial.value}) if trial.key else "as configured"}
        row |= dict(zip(measures, values, strict=True))
        row |= {"burnt": "" if measured is None else f"{measured.burnt:.6g}", "gain": gain, "gain_error": error}
        rows.append(row | {"taken": str(trial.taken).lower(), "note": trial.note})
    return pd.DataFrame(rows)


def _shown(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
