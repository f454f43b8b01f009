from itertools import product

import pytest
import torch

from medsynth.models.contract import Batch
from medsynth.models.losses.edge import edge


def charb(error: float) -> float:
    return (error**2 + 1e-6) ** 0.5 - 1e-3


@pytest.mark.parametrize(("dims", "side"), product([2, 3], [16, 8, 4]))
def test_edge_of_a_ramp_is_its_slope_at_each_scale_over_the_axes(dims, side):
    """A ramp's slope doubles with every average of two; scales end below four voxels, and after three."""
    slopes = torch.tensor([0.0, 0.02, -0.05])
    ramp = torch.arange(float(side)).view(side, *[1] * (dims - 1)).expand(*[side] * dims)
    image = slopes.view(3, 1, *[1] * dims) * ramp
    scales = {16: 3, 8: 2, 4: 1}[side]
    expected = [sum(charb(slope * 2**scale) for scale in range(scales)) / dims / scales for slope in slopes.tolist()]
    assert edge(image, Batch(None, torch.full_like(image, 0.7))).tolist() == pytest.approx(expected, abs=1e-6)


def test_images_too_small_for_a_scale_have_no_edge_loss():
    assert edge(torch.rand(2, 1, 2, 2), Batch(None, torch.zeros(2, 1, 2, 2))).tolist() == [0, 0]
