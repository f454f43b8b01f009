from dataclasses import replace
from itertools import repeat

import pytest
import torch

from medsynth.conditions.kind import MISSING, Condition
from medsynth.config.losses import Anatomical
from medsynth.errors import InputError
from medsynth.models.contract import Batch
from medsynth.models.losses.anatomical import AnatomicalLoss
from tests.models.losses.examples import lessons, toys

BUDGET = 800


def learnt(dims: int, budget: int = BUDGET) -> tuple[AnatomicalLoss, Batch]:
    """A loss that has begun, and held-out images with the masks that they show."""
    side = {2: 16, 3: 8}[dims]
    store, spec, held_out = toys("mask", dims, side)
    loss = AnatomicalLoss(Anatomical(weight=1), spec)
    loss.begin(lessons(store), budget, [(side // 2,) * dims, (side,) * dims])
    return loss.requires_grad_(False), held_out


@pytest.mark.parametrize("dims", [2, 3])
def test_an_image_that_shows_its_mask_has_little_loss_and_one_that_shows_another_much(dims):
    loss, batch = learnt(dims)
    shown = loss(batch.image, batch)
    turned = batch.image.roll(1, 0)
    differs = (batch.mask != batch.mask.roll(1, 0)).flatten(1).float().mean(1) > 0.05
    assert shown.shape == (8,) and shown.mean() < 0.4 and differs.sum() > 3
    assert (loss(turned, batch)[differs] > shown[differs] + 0.1).all()
    assert (loss(torch.zeros_like(batch.image), batch) > 0.7).all()


def test_the_loss_is_the_mean_over_the_labels_asked_for(monkeypatch):
    """Of two labels, one is found on half of its cells and the other wholly missed; a third row asks for one alone."""
    _, spec, _ = toys("mask")
    loss = AnatomicalLoss(Anatomical(weight=1), spec)
    first, second = loss.labels
    mask = torch.zeros(3, 4, 4, dtype=torch.uint8)
    mask[:2, 0], mask[1, 2], mask[2, 0] = first, second, first
    logits = torch.zeros(3, 3, 4, 4)
    logits[:, 0] = 50
    logits[:2, 1, 0, :2], logits[2, 1, 0] = 100, 100
    monkeypatch.setattr(loss, "_logits", lambda image: logits)
    condition = Condition(torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int64), mask)
    image = torch.zeros(3, 1, 4, 4)
    half = 1 - 2 * 2 / (2 + 4)
    assert loss(image, Batch(condition, image)).tolist() == pytest.approx([half, (half + 1) / 2, 0], abs=1e-6)
    missing = replace(condition, states=torch.full((3, 1), MISSING))
    assert loss(image, Batch(missing, image)).tolist() == [0, 0, 0]
    assert loss(image, Batch(replace(missing, mask=None), image)).tolist() == [0, 0, 0]


def test_a_segmenter_that_sees_little_is_said(caplog):
    learnt(2, budget=16)
    assert "on training images, expected 0.5: the loss says little" in caplog.text


def test_rows_without_a_mask_teach_nothing(caplog):
    _, spec, held_out = toys("mask")
    missing = torch.full_like(held_out.condition.states, MISSING)
    batch = replace(held_out, condition=replace(held_out.condition, states=missing))
    found = []
    for budget in (8, 800):
        torch.manual_seed(0)
        loss = AnatomicalLoss(Anatomical(weight=1), spec)
        loss.begin(repeat(batch), budget, [(16, 16)])
        found.append(loss.state_dict())
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
    assert "anatomical: Dice nan on training images" in caplog.text


def test_conditions_without_a_mask_are_refused():
    _, spec, _ = toys("categorical")
    with pytest.raises(InputError, match=r"^losses\.anatomical needs a condition of kind mask, got x$"):
        AnatomicalLoss(Anatomical(weight=1), spec)
