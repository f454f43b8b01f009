import pytest
import torch

from medsynth.models.contract import Batch
from medsynth.models.losses.charbonnier import charbonnier


@pytest.mark.parametrize("dims", [2, 3])
def test_charbonnier_of_a_constant_error_is_its_closed_form(dims):
    target = torch.rand(3, 2, *[8] * dims)
    errors = torch.tensor([0.0, 0.5, -1e-3]).view(3, *[1] * (dims + 1))
    found = charbonnier(target + errors, Batch(None, target))
    expected = [0, (0.5**2 + 1e-6) ** 0.5 - 1e-3, 1e-3 * (2**0.5 - 1)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
