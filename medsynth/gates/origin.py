"""The gates that are no thresholds: whether the results of a run are whole, and of one origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medsynth.artifacts.outcomes import FAIL, PASS
from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import Store
from medsynth.gates.thresholds import row


@dataclass(frozen=True)
class Run:
    """What a run left.

    Attributes:
        images: uint16 (n, C, *spatial), with `rows`: sample_id, model_sha256, sampler and the conditions as asked.
        verdicts: samples.csv; metrics: metrics.csv.
        checkpoint_info: content of model.json; tuned: content of sampler.json.
    """

    store: Store
    images: Images
    rows: pd.DataFrame
    verdicts: pd.DataFrame
    metrics: pd.DataFrame
    checkpoint_info: Mapping[str, Any]
    tuned: Mapping[str, Any]


Check = Callable[[Run], str]  # what is wrong; empty if nothing is


def integrity(run: Run) -> Iterator[dict[str, Any]]:
    """Lines of gates.csv: every sample is there, has one verdict, shows something, and was measured."""
    checks = {"verdicts": _verdicts, "flat_images": _flat, "metrics": _measured, "split": _split}
    yield from _lines("integrity", checks, run)


def lineage(run: Run) -> Iterator[dict[str, Any]]:
    """Lines of gates.csv: samples, model, sampler and real images belong together."""
    yield from _lines("lineage", {"weights": _weights, "training_data": _training_data, "sampler": _sampler}, run)


def _lines(gate: str, checks: Mapping[str, Check], run: Run) -> Iterator[dict[str, Any]]:
    for name, check in checks.items():
        problem = check(run)
        yield row(gate, FAIL if problem else PASS, name, note=problem)


def _verdicts(run: Run) -> str:
    asked, judged = run.rows["sample_id"], run.verdicts["sample_id"]
    for where, ids in (("samples", asked), ("verdicts", judged)):
        if ids.duplicated().any():
            return f"sample {ids[ids.duplicated()].iloc[0]} stands twice among the {where}"
    if apart := set(asked) ^ set(judged):
        where = "verdict" if min(apart) in set(asked) else "image"
        return f"{len(apart)} samples without {where}, the first {min(apart)}"
    reasons = run.verdicts["reason"].to_numpy() != ""
    torn = run.verdicts.loc[reasons == (run.verdicts["verdict"] == "kept").to_numpy(), "sample_id"]
    return f"sample {torn.iloc[0]} is kept with a reason against it, or rejected without one" if len(torn) else ""


def _flat(run: Run) -> str:
    """Images of one grey level."""
    flat = [position for position in range(len(run.images)) if np.ptp(run.images[position]) == 0]
    first = "" if not flat else run.rows["sample_id"].iloc[flat[0]]
    return f"{len(flat)} samples are of one grey level, the first {first}" if flat else ""


def _measured(run: Run) -> str:
    """The metrics are of as many samples as there are, where one of them counts all."""
    counted = run.metrics[run.metrics["metric"].isin(("kept_rate", "copy_rate")) & (run.metrics["group"] == "all")]
    wrong = counted[counted["n_synthetic"] != len(run.rows)]
    return f"metrics.csv is of {wrong['n_synthetic'].iloc[0]} samples, there are {len(run.rows)}" if len(wrong) else ""


def _split(run: Run) -> str:
    """No subject stands in two splits."""
    splits = run.store.samples.groupby("subject_id")["split"].nunique()
    torn = int((splits > 1).sum())
    return f"{torn} subjects stand in more than one split" if torn else ""


def _weights(run: Run) -> str:
    expected = run.checkpoint_info["weights_sha256"]
    strange = run.rows.loc[run.rows["model_sha256"] != expected, "sample_id"]
    if len(strange):
        return f"{len(strange)} samples are not by the model {expected[:12]}, the first {strange.iloc[0]}"
    if (of_sampler := run.tuned["weights_sha256"]) != expected:
        return f"the sampler was chosen for the model {of_sampler[:12]}, the samples are by {expected[:12]}"
    return ""


def _training_data(run: Run) -> str:
    trained, given = run.checkpoint_info["store"]["digest"], run.store.info.digest
    return f"the model was trained on data {trained[:12]}, the store holds {given[:12]}" if trained != given else ""


def _sampler(run: Run) -> str:
    samplers = sorted(set(run.rows["sampler"]))
    if len(samplers) != 1:
        return f"the samples are by {len(samplers)} samplers, expected one for all"
    return "" if json.loads(samplers[0]) == run.tuned["sampler"] else "the samples are by another sampler than tune's"
