"""Each fault of integrity and lineage is found by its own line; a whole run passes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.store import Store
from medsynth.gates.origin import Run, integrity, lineage
from tests.gates.toys import run

OTHER = "b" * 64


def found(whole: Run) -> dict[str, str]:
    """Line → what is wrong, of those that fail."""
    lines = [*integrity(whole), *lineage(whole)]
    assert all((line["result"] == "fail") == (line["note"] != "") for line in lines)
    return {line["metric"]: line["note"] for line in lines if line["result"] == "fail"}


def test_a_whole_run_passes(store: Store) -> None:
    assert found(run(store)) == {}


def rows(whole: Run, column: str, value: str) -> pd.DataFrame:
    changed = whole.rows.copy()
    changed.loc[2, column] = value
    return changed


def flat(whole: Run) -> np.ndarray:
    images = whole.images.copy()
    images[3] = 7
    return images


FAULTS = {
    "no verdict": (lambda r: {"verdicts": r.verdicts[1:]}, "verdicts", "1 samples without verdict, the first d-m-0000"),
    "no image": (lambda r: {"rows": r.rows[1:]}, "verdicts", "1 samples without image, the first d-m-000000"),
    "twice": (
        lambda r: {"verdicts": pd.concat([r.verdicts, r.verdicts[:1]])}, "verdicts", "stands twice among the verdicts",
    ),
    "kept though flagged": (
        lambda r: {"verdicts": r.verdicts.assign(reason=["a copy", *[""] * 5])}, "verdicts", "kept with a reason",
    ),
    "flat": (lambda r: {"images": flat(r)}, "flat_images", "1 samples are of one grey level, the first d-m-000003"),
    "metrics of other samples": (
        lambda r: {"metrics": r.metrics.assign(n_synthetic=5)}, "metrics", "metrics.csv is of 5 samples, there are 6",
    ),
    "another model": (
        lambda r: {"rows": rows(r, "model_sha256", OTHER)}, "weights", "1 samples are not by the model aaaaaaaaaaaa",
    ),
    "sampler of another model": (
        lambda r: {"tuned": r.tuned | {"weights_sha256": OTHER}}, "weights", "chosen for the model bbbbbbbbbbbb",
    ),
    "other data": (
        lambda r: {"checkpoint_info": r.checkpoint_info | {"store": {"digest": OTHER}}}, "training_data",
        "trained on data bbbbbbbbbbbb, the store holds 000000000000",
    ),
    "two samplers": (lambda r: {"rows": rows(r, "sampler", "{}")}, "sampler", "by 2 samplers"),
    "another sampler": (
        lambda r: {"tuned": r.tuned | {"sampler": {"steps": 9}}}, "sampler", "by another sampler than tune's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_line(store: Store, fault: str) -> None:
    change, line, said = FAULTS[fault]
    whole = run(store)
    wrong = found(replace(whole, **change(whole)))
    assert said in wrong[line]
    assert set(wrong) - {"metrics"} == {line} - {"metrics"}  # a sample that is missing is one that was not measured


def test_a_subject_in_two_splits_is_found(store: Store) -> None:
    torn = store.samples.assign(subject_id=["s0", *store.samples["subject_id"][1:-1], "s0"])
    wrong = found(run(replace(store, samples=torn)))
    assert wrong == {"split": "1 subjects stand in more than one split"}
