"""A toy store, and toy samples of it with their verdicts, as a release is given them."""

from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pandas as pd

from medsynth import registry
from medsynth.artifacts.outcomes import INSUFFICIENT, PASS
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import ReleaseSettings
from medsynth.gates.thresholds import row
from medsynth.images.modalities import MODALITIES

WEIGHTS, DATA = "a" * 64, "d" * 64


CHECKPOINT = {
    "settings": {"seed": 1, "model": {"family": "diffusion", "channels": [8]}},
    "weights_sha256": WEIGHTS,
    "parents": {},
    "images_seen": 24_000,
    "overfitted_from": None,
    "store": {"digest": DATA},
}


TUNED = {
    "sampler": {},
    "weights_sha256": WEIGHTS,
    "tried": 3,
    "images": 16,
    "changed": {"guidance": 2},
    "note": "2 of 3 settings",
}


def as_files(**settings: Any) -> ReleaseSettings:
    """Settings of a release under a licence."""
    return ReleaseSettings(**({"licence": "CC0-1.0"} | settings))


AS_PNG = as_files(formats=("png",))


COLUMNS = ("metric", "group", "value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic", "higher_is_better")


def metrics(*rows: str) -> pd.DataFrame:
    """metrics.csv as it is read: rows of COLUMNS, note and extractor, between semicolons."""
    columns = [*COLUMNS, "note", "extractor"]
    return pd.DataFrame([row.split(";") for row in rows], columns=columns, dtype=str)


GATES = pd.DataFrame(
    [
        row("integrity", PASS, "verdicts"),
        row("fidelity", INSUFFICIENT, "kid", note="12 subjects, needs 50"),
        row("copies", PASS, "copy_recall", group="exact", value="1.0", expected="at least 0.95"),
    ]
)
METRICS = metrics(
    "kid;all;2.41234;2.2;2.6;-0.001;100;4;False;4 of 9 synthetic images;a_net",
    "nearest_similarity;pathology=normal;0.5;;;0.6;100;4;;;",
)


@dataclass
class FakeStore:
    """What a release reads of a store."""

    info: SimpleNamespace
    samples: pd.DataFrame
    spacings: tuple[tuple[float, ...] | None, ...] = (None,) * 3

    def split(self, name: str) -> Self:
        chosen = self.samples["split"] == name
        return FakeStore(self.info, self.samples[chosen], tuple(compress(self.spacings, chosen)))

    def spacing_mm(self, row: int) -> tuple[float, ...] | None:
        return self.spacings[row]

    def __len__(self) -> int:
        return len(self.samples)


def schema_of(spatial_dims: int, **more: dict[str, Any]) -> ConditionSchema:
    """A class, a number and further fields."""
    values: dict[str, dict[str, Any]] = {
        "pathology": {"kind": "categorical", "values": ["normal", "nodule"]},
        "severity": {"kind": "number", "range": [-1, 1]},
        **more,
    }
    settings = {name: registry.CONDITIONS[of["kind"]].load_settings()(**of) for name, of in values.items()}
    return ConditionSchema(settings, spatial_dims)


def make_store(modality: str = "chest_xray", low: str = "0.0", high: str = "255.0", channels: int = 1) -> FakeStore:
    info = SimpleNamespace(
        dataset="toy",
        modality=modality,
        windowed=False,
        unit=MODALITIES[modality].unit,
        simulated=False,
        size=(2, 3),
        channels=channels,
        image_shape=(channels, 2, 3),
        label="pathology",
        condition_schema=schema_of(MODALITIES[modality].spatial_dims),
        structures={},
        digest=DATA,
        rows_in=5,
        rows_quarantined=2,
    )
    samples = pd.DataFrame(
        {
            "subject_id": ["s7", "s8", "s9"],
            "image": ["a.png", "b.png", "c.png"],
            "sha256": ["f" * 64, "0" * 64, "7" * 64],
            "split": ["train", "train", "test"],
            "low": [low, low, "-9"],
            "high": [high, high, "9"],
        }
    )
    return FakeStore(info, samples)


def make_samples(n: int = 4, channels: int = 1) -> dict:
    ids = [f"toy-diffusion-{i:06d}" for i in range(n)]
    pathology = ["normal", "nodule"] * (n // 2)
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 65536, (n, channels, 2, 3), dtype=np.uint16),
        "rows": pd.DataFrame(
            {
                "sample_id": ids,
                "seed": range(n),
                "model_sha256": WEIGHTS,
                "sampler": "{}",
                "pathology": pathology,
                "severity": "-0.5",
            }
        ),
        "verdicts": pd.DataFrame(
            {
                "sample_id": ids[::-1],
                "predicted_pathology": pathology[::-1],
                "requested_probability": 0.9,
                "conformity": 0.8,
                "misread_check": "on",
                "nearest_similarity": np.resize([0.1, 0.2, 0.3, 0.4], n),
                "nearest_image": "7",
                "verdict": np.resize(["kept", "rejected", "kept", "kept"], n),
                "reason": np.resize(["", "too close to a training image", "", ""], n),
            }
        ),
        "metrics": METRICS,
        "gates": GATES,
        "checkpoint_info": CHECKPOINT,
        "tuned": TUNED,
    }


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


SPACINGS = ((3.0, 2.0, 1.5), (5.0, 2.5, 1.5), (99.0, 99.0, 99.0))  # of two training images and a test image


def volumes(spacings: tuple = SPACINGS) -> tuple[FakeStore, dict]:
    store, samples = make_store("ct_volume", "-1000.0", "1000.0"), make_samples()
    store.info.size, store.spacings = (4, 3, 2), spacings
    samples["images"] = np.random.default_rng(1).integers(0, 65536, (4, 1, 4, 3, 2), dtype=np.uint16)
    return store, samples
