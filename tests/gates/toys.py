"""A toy run whose gates pass, and lines of metrics.csv."""

from dataclasses import replace

import numpy as np
import pandas as pd

from medsynth.artifacts.store import Store
from medsynth.gates.origin import Run

WEIGHTS = "a" * 64
SAMPLER = {"family": "diffusion", "steps": 4}
NAN = float("nan")


def metrics(*lines: tuple) -> pd.DataFrame:
    """Lines of metric, group, value, floor, n_real, n_synthetic, note."""
    table = pd.DataFrame(lines, columns=["metric", "group", "value", "floor", "n_real", "n_synthetic", "note"])
    return table.assign(ci_low=table["value"] - 0.1, ci_high=table["value"] + 0.1)


def run(store: Store, **changed) -> Run:
    """Six samples of the store's own images, all kept."""
    ids = [f"d-m-{row:06d}" for row in range(6)]
    rows = pd.DataFrame({"sample_id": ids, "model_sha256": WEIGHTS, "sampler": '{"steps": 4, "family": "diffusion"}'})
    verdicts = pd.DataFrame({"sample_id": ids[::-1], "verdict": "kept", "reason": ""})
    info = {"weights_sha256": WEIGHTS, "store": {"digest": store.info.digest}}
    tuned = {"weights_sha256": WEIGHTS, "sampler": SAMPLER}
    measured = metrics(("kept_rate", "all", 1.0, 1.0, 8, 6, NAN))
    whole = Run(store, np.array(store.images[:6]), rows, verdicts, measured, info, tuned)
    return replace(whole, **changed)
