"""The step `utility`: classifiers trained with and without the samples, judged on subjects that no model has seen."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from medsynth.artifacts.shards import Images, with_verdicts
from medsynth.artifacts.store import Store
from medsynth.conditions.kind import ABSENT
from medsynth.config.columns import VERDICT
from medsynth.config.utility import UtilitySettings
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES
from medsynth.utility import figures
from medsynth.utility.arms import Arm, Pools, arms
from medsynth.utility.classifier import probabilities, seen_at
from medsynth.utility.summary import AUROC, Trials, summary

log = logging.getLogger(__name__)

BEST = (
    "utility: best is {arm}, AUROC {value:.3f} ({ci_low:.3f} to {ci_high:.3f}), {difference:+.3f} "
    "({difference_low:+.3f} to {difference_high:+.3f}) over {baseline}{note}"
)


def utility(
    settings: UtilitySettings, store: Store, images: Images, rows: pd.DataFrame, verdicts: pd.DataFrame, out: Path
) -> None:
    """Write utility.csv, trials.csv, gain.csv and utility.png: what the samples are worth to a classifier of the label.

    `utility.csv` has a row for each way of training, metric and class, with its interval and the difference to the
    better of real images alone and real images duplicated; `trials.csv` each classifier on its own; `gain.csv`, in the
    columns of metrics.csv, the difference of the best way with kept samples, for the gates.

    Args:
        images: uint16 (n, C, *spatial) of the n rows of all shards; verdicts: samples.csv of evaluate.
        out: folder of the results; replaced.
    Raises:
        InputError: the verdicts are not of these samples; a split has no image with a label, or of one class alone.
    """
    table = with_verdicts(rows, verdicts[["sample_id", *VERDICT]])
    label = store.info.label
    classes: tuple[str, ...] = store.info.condition_schema.fields[label].values  # type: ignore[attr-defined]
    real, test = (_with_label(store.split(name), label) for name in ("train", "test"))
    for name, part in (("train", real), ("test", test)):
        if part.samples[label].nunique() < 2:
            raise InputError(f"utility: {name} has {part.samples[label].nunique()} classes of {label}, needs 2")
    side = settings.utility.for_images(store.info.size).side
    assert side != "auto"
    asked = np.flatnonzero(~table[label].isin(ABSENT))
    kept = asked[(table["verdict"].iloc[asked] == "kept").to_numpy()]
    shown = np.concatenate([seen_at(part, side).numpy() for part in (real.images, images)])
    labels = np.concatenate([_numbers(part[label], classes) for part in (real.samples, table)])
    pools = Pools(labels, np.arange(len(real)), len(real) + kept, len(real) + asked)
    ways = arms(pools, settings.utility.doses, np.random.default_rng(np.random.SeedSequence((settings.seed, 5))))
    trials = _trials(settings, store, ways, shown, labels, seen_at(test.images, side).numpy(), len(classes))
    subjects = test.samples["subject_id"].to_numpy(dtype=str)
    found = Trials(ways, trials, _numbers(test.samples[label], classes), subjects, label, classes)
    measured, each, gains = summary(found, settings.utility.bootstrap, settings.seed)
    with folder_written_whole(out) as folder:
        tables.write(folder / "utility.csv", measured)
        tables.write(folder / "trials.csv", each)
        tables.write(folder / "gain.csv", gains)
        figures.dose_and_response(folder / "utility.png", measured, store.info.dataset)
    _say(measured)


def _with_label(split: Store, label: str) -> Store:
    """The images of a split that have a label."""
    return split.take(np.flatnonzero(~split.samples[label].isin(ABSENT).to_numpy()))


def _numbers(cells: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    """(n,) the place of each cell among the classes; 0 for one that has no value, which no pool holds."""
    return np.array([classes.index(cell) if cell in classes else 0 for cell in cells], np.int64)


def _trials(
    settings: UtilitySettings,
    store: Store,
    ways: list[Arm],
    images: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    classes: int,
) -> np.ndarray:
    """(arms, seeds, m, classes) the probabilities of every classifier; a seed is the same in every arm."""
    import torch

    schema, flip_axes = store.info.condition_schema, MODALITIES[store.info.modality].flip_axes
    seen, judged = torch.from_numpy(images), torch.from_numpy(test)
    seeds = np.random.SeedSequence((settings.seed, 6)).generate_state(settings.utility.seeds)
    rounds = [(arm, int(seed)) for arm in ways for seed in seeds]
    found = [
        probabilities(seen, labels, arm.phases, judged, classes, schema, flip_axes, settings.utility, seed)
        for arm, seed in tqdm(rounds, desc="utility", unit="classifier", mininterval=5)
    ]
    return np.stack(found).reshape(len(ways), len(seeds), len(test), classes)


def _say(measured: pd.DataFrame) -> None:
    of_all = measured[(measured["metric"] == AUROC) & (measured["group"] == "all")]
    if of_all["value"].isna().all():
        log.warning("utility: not measured: %s", of_all["note"].iloc[0])
        return
    best = of_all.iloc[int(of_all["value"].to_numpy().argmax())]
    told = {str(name): value for name, value in best.items()} | {"note": f" ({best['note']})" if best["note"] else ""}
    log.info(BEST.format(**told))
