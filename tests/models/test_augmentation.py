from dataclasses import replace

import pandas as pd
import pytest
import torch

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Lesions
from medsynth.config.training import Augmentation
from medsynth.models.augmentation import augment
from medsynth.models.contract import Batch

SCHEMA = {dims: ConditionSchema({"lesion": Lesions(kind="lesions")}, dims) for dims in (2, 3)}


@pytest.mark.parametrize("shape", [(64, 64), (48, 96), (32, 32, 32)])
@pytest.mark.parametrize("flips", [False, True])
def test_the_lesion_moves_with_the_image(shape, flips):
    dims = len(shape)
    torch.manual_seed(0)
    place = [f"{x}" for x in (0.4, 0.55, 0.6)[:dims]]
    table = pd.DataFrame([dict(zip(SCHEMA[dims].columns, [*place, "0.2"], strict=True))] * 16)
    before = SCHEMA[dims].encode(table)
    images = 2 * SCHEMA[dims].draw(before, shape)[:, :1] - 1
    settings = Augmentation(probability=1, shift=0.1, rotation_degrees=15, scale=0.15)
    flip_axes = tuple(range(dims)) if flips else ()
    mask = (images[:, 0] > 0).to(torch.uint8)
    batch = augment(Batch(replace(before, mask=mask), images), SCHEMA[dims], settings, flip_axes)
    moved, after, features = batch.image, batch.condition, batch.augmentation
    drawn = 2 * SCHEMA[dims].draw(after, shape)[:, :1] - 1
    assert features.abs().sum(1).min() > 0
    overlap = torch.minimum(moved + 1, drawn + 1).flatten(1).sum(1) / torch.maximum(moved + 1, drawn + 1).flatten(
        1
    ).sum(1)
    assert overlap.min() > 0.75, overlap
    assert ((moved[:, 0] > 0) == batch.mask.bool()).float().mean() > 0.98  # the mask as well
    assert torch.equal(before.values, SCHEMA[dims].encode(table).values)  # the batch that came in is left alone


def test_nothing_changes_at_probability_zero():
    images = torch.randn(4, 1, 16, 16)
    condition = SCHEMA[2].nothing(4)
    same = augment(Batch(condition, images), SCHEMA[2], Augmentation(probability=0), (0, 1))
    assert torch.equal(same.image, images) and same.augmentation.abs().max() == 0


def test_a_mirrored_axis_is_mirrored_and_no_other():
    torch.manual_seed(1)
    images = torch.randn(8, 1, 16, 16)
    settings = Augmentation(probability=1, shift=0, rotation_degrees=0, scale=0)
    flipped = augment(Batch(SCHEMA[2].nothing(8), images), SCHEMA[2], settings, (1,)).image
    kinds = [
        "same"
        if torch.allclose(a, b, atol=1e-5)
        else "mirrored"
        if torch.allclose(a, b.flip(-1), atol=1e-5)
        else "other"
        for a, b in zip(images, flipped, strict=True)
    ]
    assert set(kinds) == {"same", "mirrored"}
