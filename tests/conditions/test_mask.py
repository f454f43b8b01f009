import numpy as np
import pandas as pd
import pytest
import torch

from medsynth.conditions import planes
from medsynth.conditions.kind import GIVEN, MISSING, Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Mask
from medsynth.config.training import Augmentation
from medsynth.models.augmentation import augment
from medsynth.models.contract import Batch
from tests.conditions.toys import STRUCTURES, toy

FIELDS = {"outline": Mask(kind="mask")}
SCHEMA = ConditionSchema(FIELDS, 2, STRUCTURES)
KIND = SCHEMA.kinds["outline"]


def test_it_has_no_column_and_a_plane_for_each_structure_beside_that_of_given():
    assert SCHEMA.columns == () and SCHEMA.needs_mask and SCHEMA.map_channels == 3
    table = pd.DataFrame({"mask_of": ["7", ""]})
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[:, :2, :2], masks[:, 0, 0] = 3, 5
    condition = SCHEMA.encode(table, masks)
    assert condition.states[:, 0].tolist() == [GIVEN, MISSING]
    drawn = SCHEMA.draw(condition, (4, 4))
    assert torch.equal(drawn[0, 0], torch.tensor(masks[0] == 3).float())
    assert torch.equal(drawn[0, 1], torch.tensor(masks[0] == 5).float())
    assert drawn[0, 2].eq(1).all() and drawn[1].eq(0).all()
    coarse = SCHEMA.draw(condition, (2, 2))[0]  # the share of each cell
    assert coarse[0].tolist() == [[0.75, 0], [0, 0]] and coarse[1].tolist() == [[0.25, 0], [0, 0]]
    assert SCHEMA.encode(table).states[:, 0].tolist() == [MISSING, MISSING]  # no masks at hand


@pytest.mark.parametrize("shape", [(12, 8), (8, 8, 4)])
def test_a_coarser_plane_is_the_finer_one_averaged(shape):
    mask = torch.randint(0, 7, (2, *shape), dtype=torch.uint8)
    fine = planes.structures(mask, (3, 5), shape)
    for axis in range(2, fine.ndim):
        fine = fine.unflatten(axis, (-1, 4)).mean(axis + 1)
    torch.testing.assert_close(planes.structures(mask, (3, 5), [extent // 4 for extent in shape]), fine)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_mask_moves_with_the_image(dims):
    schema = ConditionSchema(FIELDS, dims, STRUCTURES)
    _, table, masks = toy("mask", 12, dims, 32, seed=0)
    condition = schema.encode(table, masks)
    images = torch.from_numpy(masks == 3).float()[:, None]
    settings = Augmentation(probability=1, shift=0.1, rotation_degrees=15, scale=0.15)
    torch.manual_seed(0)
    batch = augment(Batch(condition, images), schema, settings, (0,))
    moved, after = batch.image, batch.condition
    assert set(after.mask.unique().tolist()) <= {0, 3, 5}
    agree = ((moved[:, 0] > 0.5) == (after.mask == 3)).float().flatten(1).mean(1)
    assert agree.min() > 0.97
    assert not torch.equal(after.mask, condition.mask) and np.array_equal(condition.mask.numpy(), masks)


def test_dice_of_a_mask_with_itself_is_one_and_of_halves_is_known():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[0, :4, :4], masks[1, :4, :], masks[2] = 3, 3, 0
    own = planes.structures(torch.from_numpy(masks), (3, 5), (4, 4)).numpy()
    shares = np.concatenate([1 - own.sum(1, keepdims=True), own], 1)
    table = pd.DataFrame(index=range(3))
    dice = KIND.asked_and_read(table, masks, Reading(table, {"outline": shares}), (8, 8))
    assert dice[0].tolist() == [1, 1]  # the third asks for no structure
    # Of 4 x 4 cells, the masks cover 4 and 8: the mean of both covers 4 cells, and 4 more by half.
    assert dice[1] == pytest.approx([2 * 4 / (4 + 6), 2 * 6 / (8 + 6)])
    assert dice[2].tolist() == [1, 1]  # the similarity of volumes: 4 and 8 cells, the mean has 6
    assert dice[3] == pytest.approx([1 - 2 / (4 + 6), 1 - 2 / (8 + 6)])
    assert KIND.asked(table, masks).tolist() == [True, True, False]
    shares[0] = shares[1]
    dice = KIND.asked_and_read(table, masks, Reading(table, {"outline": shares}), (8, 8))
    assert dice[0][0] == pytest.approx(2 * 4 / (4 + 8)) and dice[2][0] == pytest.approx(1 - 4 / (4 + 8))
    read = KIND.structures_read(Reading(table, {"outline": shares}))
    assert read["block"].sum((1, 2)).tolist() == [8, 8, 0] and not read["core"].any()


def test_only_one_field_may_be_the_mask():
    from medsynth.config.conditions import refuse_misfits

    with pytest.raises(ValueError, match="a and b are each the image's mask"):
        refuse_misfits({"a": Mask(kind="mask"), "b": Mask(kind="mask"),
                        "c": Categorical(kind="categorical", values=("x",))}, 2)  # fmt: skip
