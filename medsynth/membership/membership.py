"""The step `membership`: whether the model tells its training images from held-out ones, and whether it would show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.measured import as_table
from medsynth.artifacts.store import Store
from medsynth.config import SPLITS, Family, MembershipSettings
from medsynth.config.evaluation import FEWEST_SUBJECTS as FEWEST_BESIDE
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.machine.devices import choose_device
from medsynth.membership import figures
from medsynth.membership.canaries import canaries_of, taught
from medsynth.membership.scoring import rows_of, scored
from medsynth.membership.summary import Canary, Scored, Sides, conclusion, nothing_to_measure, summary, too_few
from medsynth.models.checkpoint import load_model, refuse_other_store
from medsynth.models.contract import GenerativeModel

log = logging.getLogger(__name__)


def membership(settings: MembershipSettings, store: Store, weights: Path, out: Path) -> None:
    """Write membership.csv, scores.csv and membership.png, whole or not at all.

    `membership.csv` has the columns of metrics.csv: `n_real` are held-out subjects, `n_synthetic` training subjects.
    `scores.csv` has a row for each subject that was looked at. The weights are read, and no file of theirs is written.

    Raises:
        InputError: the weights are of another store; a split has no image; a score is not finite.
    """
    model, info = load_model(weights, choose_device())
    refuse_other_store(weights, info.store, store.info)
    options = settings.membership
    of_noise, of_rows = np.random.SeedSequence((settings.seed, 7)).spawn(2)
    seeds, rng = of_noise.generate_state(options.draws, np.uint64).tolist(), np.random.default_rng(of_rows)
    rows = {split: rows_of(store, split, options.subjects, options.images, rng) for split in SPLITS}
    if empty := [split for split in SPLITS if not len(rows[split])]:
        raise InputError(f"membership: {empty[0]} has no image, expected subjects in {', '.join(SPLITS)}")
    look = partial(scored, store=store, seeds=seeds, batch_size=options.batch_size)
    found = {split: look(model, rows=rows[split], what=split) for split in SPLITS}
    if len(found["train"].columns):
        canary = _canary(settings, model, info.settings.model, store, rows, found["val"], look, rng)
        attack, floor = (Sides(found[split], found["test"]) for split in ("train", "val"))
        lines = summary(Scored(attack, floor, canary), settings)
    else:
        lines = [nothing_to_measure(f"a {info.settings.model.family} model has no membership score")]
    measured = as_table(lines)
    with folder_written_whole(out) as folder:
        tables.write(folder / "membership.csv", measured)
        tables.write(folder / "scores.csv", _by_subject(found))
        figures.told_apart(folder / "membership.png", measured, store.info.dataset)
    log.info("membership: %s", conclusion(lines))


def _canary(
    settings: MembershipSettings,
    model: GenerativeModel,
    trained: Family,
    store: Store,
    rows: Mapping[str, np.ndarray],
    validation: pd.DataFrame,
    look: Callable[..., pd.DataFrame],
    rng: np.random.Generator,
) -> Canary | str:
    """The scores of canaries and of other validation subjects, or why there are none.

    Args:
        trained: what the model was trained by; rows: of each split; validation: its scores by the model.
    """
    options = settings.membership
    if not options.canaries:
        return "insufficient: no canary was planted, the power of the audit was not shown"
    if few := too_few(len(validation), options.canaries + FEWEST_BESIDE, "validation subjects for canaries"):
        return few
    canaries, beside = canaries_of(store, rows["val"], options.canaries, rng)
    learner = taught(model, store, canaries, rows["train"], options, trained.training, settings.seed)
    if learner is None:
        return f"insufficient: a {trained.family} model has nothing that a canary is learnt by"
    after, others = (look(learner, rows=of, what="canaries") for of in (canaries, beside))
    before = look(model, rows=canaries, what="canaries")
    return Canary(Sides(after, others), Sides(before, validation.drop(index=after.index)))


def _by_subject(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """scores.csv: split, subject_id, and a column for each score."""
    parts = [table.reset_index().assign(split=split) for split, table in found.items()]
    table = pd.concat(parts, ignore_index=True)
    return table[["split", *table.columns.drop("split")]]
