"""Numbers recorded from the code that knew categories, numbers and one lesion alone: these configurations keep theirs.

Seeds, the order of random draws and of initialisation, and the losses decide them.
"""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from medsynth import config
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.training import Augmentation
from medsynth.judges.reader import Reader
from medsynth.judges.reader_training import reading_loss
from medsynth.models.augmentation import augment
from medsynth.models.contract import Batch
from medsynth.models.networks.blocks import ConditionEmbedding
from medsynth.sample.plan import plan

EMBEDDED = [-0.36496657133102417, 0.6261927485466003, 0.7668980956077576]
DROPPED = [16, 18, 23, 18, 18, 18]
DRAWN = [1246.076416015625, -1108.603759765625]
AUGMENTED = (
    0.18760960954662034,
    [16.0, -14.295899987220764, -6.319999933242798, 8.220427364110947, 9.256560683250427, 8.748933851718903],
)
LOSS = 13.336261749267578
PLANS = {"per_class": "6cfed01d4f25b700", "balance": "b30a78a51bf7669a"}

FIELDS = {
    "type": {"kind": "categorical", "values": ["clear", "lesion"]},
    "severity": {"kind": "number", "range": [0, 10]},
    "age": {"kind": "number", "range": [0, 100]},
    "lesion": {"kind": "lesions", "severity": "severity"},
}


def collection(count: int, seed: int) -> tuple[StoreInfo, np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    images = (rng.normal(0.3, 0.1, (count, 1, 32, 32)).clip(0, 1) * 65535).astype(np.uint16)
    rows = []
    for row in range(count):
        severity, *place, size = (f"{value:.4f}" for value in rng.uniform(0.2, 0.8, 4))
        there = row % 3 > 0
        lesion = [severity, *place, size] if there else ["n/a"] * 4
        rows.append(["lesion" if there else "clear", lesion[0], "" if there else str(row), *lesion[1:]])
    columns = ["type", "severity", "age", "lesion_x", "lesion_y", "lesion_size"]
    info = StoreInfo(
        version=1, dataset="d", modality="chest_xray", simulated=False, size=(32, 32), channels=1, conditions=FIELDS,
        label="type", structures={}, rows_in=count, rows_out=count, rows_quarantined=0, digest="0" * 64,
    )  # fmt: skip
    return info, images, pd.DataFrame(rows, columns=columns, dtype=str)


INFO, IMAGES, TABLE = collection(24, 1)
SCHEMA = ConditionSchema(INFO.conditions, 2)
CONDITION = SCHEMA.encode(TABLE)
INPUT = torch.from_numpy(IMAGES.astype(np.float32)) / 32767.5 - 1


def test_the_embedding():
    torch.manual_seed(0)
    embed = ConditionEmbedding(SCHEMA, 16)
    assert list(embed.state_dict())[:4] == ["tokens", "values.0.weight", "values.1.weight", "values.1.bias"]
    assert embed(CONDITION)[:3, 0].tolist() == pytest.approx(EMBEDDED, rel=1e-5)


def test_what_is_dropped_and_drawn():
    torch.manual_seed(0)
    dropped = SCHEMA.drop(CONDITION, 0.51, torch.rand(24, 5)).states
    assert dropped.sum(0).tolist() == DROPPED  # 0.51 = 1 - (1 - 0.3)^2
    drawn = SCHEMA.draw(CONDITION, (16, 16))
    assert drawn.sum((0, 2, 3)).tolist() == pytest.approx(DRAWN, rel=1e-5)


def test_the_augmentation():
    torch.manual_seed(5)
    batch = augment(Batch(CONDITION, INPUT), SCHEMA, Augmentation(probability=0.5), (0,))
    images, condition = batch.image, batch.condition
    assert images.double().square().mean().item() == pytest.approx(AUGMENTED[0], rel=1e-5)
    assert condition.values.double().sum(0).tolist() == pytest.approx(AUGMENTED[1], rel=1e-5)


def test_the_reader():
    torch.manual_seed(0)
    outputs = Reader(SCHEMA, 1, (32, 32)).eval()(INPUT)
    assert reading_loss(outputs, CONDITION, SCHEMA, torch.Size([8, 8])).item() == pytest.approx(LOSS, rel=1e-5)


@pytest.mark.parametrize("kind", ["per_class", "balance"])
def test_the_plan(kind):
    info, images, table = collection(90, 4)
    samples = table.assign(
        subject_id=[f"s{row // 2}" for row in range(90)], split=["train"] * 60 + ["val"] * 15 + ["test"] * 15
    )
    request = {"kind": kind, "column": "type"} | ({"counts": {"clear": 7, "lesion": 30}} if kind == "per_class" else {})
    settings = config.SampleSettings(seed=0, dataset="d", model="m", plan={"request": request})
    rows = plan(settings, Store(info, images, None, samples))
    assert hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:16] == PLANS[kind]
