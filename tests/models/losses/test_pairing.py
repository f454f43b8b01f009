"""Known answers: the loss of equal scores, and the gradients of a linear score."""

import math

import pytest
import torch
from torch import nn

from medsynth.models.losses.pairing import gradient_penalty, pairing_loss, without_gradients


def test_equal_scores_cost_ln_2_and_a_better_one_less():
    scores = torch.tensor([0.0, 3.0])
    assert pairing_loss(scores, scores).tolist() == pytest.approx([math.log(2)] * 2)
    assert pairing_loss(scores + 20, scores).max() < 1e-8
    assert pairing_loss(scores - 20, scores).tolist() == pytest.approx([20.0] * 2)


def test_the_penalty_of_a_linear_score_is_the_square_of_its_weights_for_each_set():
    weights = torch.randn(3, 4, 4)
    real, drawn = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    penalty = gradient_penalty(lambda sets: torch.stack([(each * weights).sum((1, 2, 3)) for each in sets]),
                               [real, drawn], gamma=0.5)  # fmt: skip
    expected = 0.5 / 2 * 2 * float(weights.square().sum())
    assert penalty.tolist() == pytest.approx([expected] * 5, rel=1e-5)


def test_the_penalty_has_gradients_by_the_weights():
    layer = nn.Linear(4, 1)
    x = torch.randn(6, 4)
    gradient_penalty(lambda sets: torch.stack([layer(each).tanh() for each in sets]), [x, x], 1.0).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().max() > 0


def test_a_network_has_no_gradients_within_the_block_and_has_them_after_it():
    layer = nn.Linear(4, 1)
    x = torch.randn(2, 4, requires_grad=True)
    with without_gradients(layer):
        layer(x).sum().backward()
    assert layer.weight.grad is None and x.grad is not None
    assert all(parameter.requires_grad for parameter in layer.parameters())
