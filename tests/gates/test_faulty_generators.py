"""Simulated images, changed as a faulty generator would: each fault is stopped by the gate that names it.

No generator is trained: the samples of an honest one are fresh images of the same simulation.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from medsynth import registry
from medsynth.artifacts.outcomes import Outcome, outcomes
from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.config import EvaluateSettings, Evaluation, Gates, GatesSettings, ReferenceSettings
from medsynth.config.gates import Fidelity
from medsynth.disk import tables
from medsynth.evaluate.evaluate import evaluate
from medsynth.gates.gates import look
from medsynth.gates.origin import Run
from medsynth.reference import reference as step
from tests.gates.toys import SAMPLER, WEIGHTS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faulty_generators")]  # the fixture below is made once

CLASSES = ("opaque", "speckled")
TRAIN, VAL, TEST, SAMPLES = 160, 80, 100, 240
SETTINGS = EvaluateSettings(seed=0, evaluation=Evaluation(bootstrap=20))
JUDGES = ReferenceSettings(seed=0, reader_epochs=8, readers=1, planted_copies=50, extractor="efficientnet_lite0")
GATES = GatesSettings(  # 240 samples tell enough here, the faults are plain
    gates=Gates(enforce=True, fidelity=Fidelity(images=SAMPLES)).by_name(), measured=SETTINGS.evaluation.metrics
)


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint16 images (n, 1, 32, 32), and the class of each: one as often as the other."""
    phantom = registry.PHANTOMS["leaves"].load()
    label = np.array(CLASSES)[np.arange(count) % 2]
    voxels = [phantom.draw(seed + row, (32, 32), {"look": label[row]}).voxels for row in range(count)]
    return to_stored(np.stack(voxels)), label


def to_stored(voxels: np.ndarray) -> np.ndarray:
    return (np.clip(voxels, 0, 1) * 65535).round().astype(np.uint16)


@pytest.fixture(scope="module")
def known() -> tuple[Store, Reference, np.ndarray, np.ndarray]:
    """The real images and what is known of them; fresh ones with their classes."""
    images, label = draw(TRAIN + VAL + TEST, 0)
    rows = np.arange(len(images))
    samples = pd.DataFrame({"look": label}).assign(
        image=[f"{row}.png" for row in rows],
        subject_id=[f"s{row}" for row in rows],
        split=np.select([rows < TRAIN, rows < TRAIN + VAL], ["train", "val"], "test"),
    )
    info = StoreInfo(
        version=2, dataset="d", modality="mri", size=(32, 32), channels=1, label="look", simulated=True,
        conditions={"look": {"kind": "categorical", "values": CLASSES}}, structures={}, rows_in=len(rows),
        rows_out=len(rows), rows_quarantined=0, digest="0" * 64,
    )  # fmt: skip
    store = Store(info, images, None, samples)
    return store, step.look(JUDGES, store), *draw(SAMPLES, 10_000)


def judged(known, images: np.ndarray, label: np.ndarray, out: Path) -> dict[str, Outcome]:
    """Gate → its outcome, by evaluate's own files."""
    store, reference, *_ = known
    ids = [f"d-m-{row:06d}" for row in range(len(images))]
    rows = pd.DataFrame({"sample_id": ids, "look": label, "model_sha256": WEIGHTS})
    rows["sampler"] = '{"steps": 4, "family": "diffusion"}'
    evaluate(SETTINGS, store, reference, images, rows, None, out)
    found, metrics = (tables.read(out / name) for name in ("samples.csv", "metrics.csv"))
    info = {"weights_sha256": WEIGHTS, "store": {"digest": store.info.digest}}
    run = Run(store, images, rows, found, metrics, info, {"weights_sha256": WEIGHTS, "sampler": SAMPLER})
    return {gate.name: gate for gate in outcomes(look(GATES, run))}


def test_an_honest_generator_passes_every_gate(known, tmp_path: Path) -> None:
    found = judged(known, *known[2:], tmp_path / "out")
    assert {name: gate.reasons for name, gate in found.items() if gate.result != "pass"} == {}
    assert list(found) == ["integrity", "lineage", "fidelity", "diversity", "adherence", "shortcut", "copies"]


Fault = Callable[[np.ndarray, np.ndarray, Store], np.ndarray]


def ignores_its_condition(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    return images[np.random.default_rng(0).permutation(len(images))]


def of_split(name: str, label: np.ndarray, store: Store) -> np.ndarray:
    """Images of a split, of the class that is asked for, each a little noisy."""
    split, rng = store.split(name), np.random.default_rng(0)
    rows = [rng.choice(np.flatnonzero(split.samples["look"] == value)) for value in label]
    noise = rng.normal(0, 0.003, (len(rows), *split.images.shape[1:]))
    return to_stored(split.images[rows] / 65535 + noise)


def copies(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    return of_split("train", label, store)


def collapses(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    """One image of each class."""
    return images[[int(np.flatnonzero(label == value)[0]) for value in label]]


def blurs(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    return to_stored(gaussian_filter(images / 65535, (0, 0, 0.8, 0.8)))


def draws_test_subjects(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    """A generator that has learned from test subjects."""
    return of_split("test", label, store)


def marks_a_corner(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    """A white square in the corner of each image of one class."""
    marked = images.copy()
    marked[label == CLASSES[0], :, 1:4, 1:4] = 65535
    return marked


def adds_noise(images: np.ndarray, label: np.ndarray, store: Store) -> np.ndarray:
    return to_stored(images / 65535 + np.random.default_rng(0).normal(0, 0.12, images.shape))


FAULTS: dict[Fault, tuple[str, str]] = {
    ignores_its_condition: ("adherence", "accuracy of look"),
    copies: ("copies", "copy_rate"),
    collapses: ("diversity", "pairwise_ms_ssim of look=opaque"),
    blurs: ("fidelity", "finest_octave_db"),
    adds_noise: ("fidelity", "finest_octave_db"),
    draws_test_subjects: ("copies", "test_copy_rate"),
    marks_a_corner: ("shortcut", "shortcut_gap"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_stopped_by_the_gate_that_names_it(known, fault: Fault, tmp_path: Path) -> None:
    store, _, images, label = known
    found = judged(known, fault(images, label, store), label, tmp_path / "out")
    gate, said = FAULTS[fault]
    assert found[gate].stops and any(reason.startswith(said) for reason in found[gate].reasons)
