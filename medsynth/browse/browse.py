"""The step `browse`: all samples of a run on one page, each beside the training image that it is most like."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medsynth.artifacts.shards import Images, with_verdicts
from medsynth.artifacts.store import Store, typical_spacing_mm
from medsynth.config.columns import MASK_OF
from medsynth.disk.files import write_text
from medsynth.errors import InputError
from medsynth.pages.gallery import Nearest, gallery

# Names of training images, and what every row has alike.
LEFT_OUT = ["nearest_image", MASK_OF, "sampler", "model_sha256"]


def browse(
    store: Store,
    images: Images,
    rows: pd.DataFrame,
    verdicts: pd.DataFrame,
    metrics: pd.DataFrame,
    gates: pd.DataFrame,
    out: Path,
) -> None:
    """Write the page, which holds training images: it is for those who may see them.

    Args:
        images: uint16 (n, C, *spatial) of the n rows of all shards, on the store's scale.
        verdicts, metrics, gates: samples.csv and metrics.csv of evaluate, and gates.csv, as text.
        out: the file.
    Raises:
        InputError: the verdicts are not of these samples, or name a training image that the store has not.
    """
    table = with_verdicts(rows, verdicts)
    training = store.split("train")
    places = pd.Series(range(len(training)), index=training.samples["image"])
    found = table["nearest_image"].map(places[~places.index.duplicated()])
    if found.isna().any():
        sample_id, name = table.loc[found.isna(), ["sample_id", "nearest_image"]].iloc[0]
        raise InputError(f"sample {sample_id}: its nearest image {name!r} is no training image of {store.info.dataset}")
    shown = table.drop(columns=LEFT_OUT, errors="ignore")
    nearest = Nearest(training.images, found.to_numpy(int))
    write_text(out, gallery(store.info, shown, images, metrics, gates, typical_spacing_mm(training), nearest))
