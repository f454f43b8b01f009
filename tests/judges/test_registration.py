import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

from medsynth.judges.registration import Frame, Pose


def textures(count: int, dims: int, cells: int) -> torch.Tensor:
    noise = torch.randn(count, 1, *[cells] * dims, generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(gaussian_filter(noise.numpy(), (0, 0, *[1.5] * dims)))


def turn(degrees: float, scale: float, dims: int) -> torch.Tensor:
    """In the plane of the last two axes."""
    a = math.radians(degrees)
    linear = torch.eye(dims)
    linear[-2:, -2:] = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return (linear * scale)[None]


@pytest.mark.parametrize(("dims", "cells"), [(2, 32), (3, 16)])
def test_a_known_pose_is_found_again(dims, cells):
    frame = Frame(cells, [64] * dims)
    image = textures(3, dims, cells)
    true = Pose(turn(4.0, 1.05, dims).expand(3, -1, -1), torch.full((3, dims), 0.7))
    seen = frame.warped(image, true)
    start = Pose(torch.eye(dims).expand(3, -1, -1), torch.zeros(3, dims))
    weights = torch.zeros(3, *[cells] * dims)
    weights[(..., *[slice(3, -3)] * dims)] = 1.0
    found = frame.refined(seen, image, weights, start)
    torch.testing.assert_close(found.linear, true.linear, atol=0.01, rtol=0)
    torch.testing.assert_close(found.offset, true.offset, atol=0.1, rtol=0)


def test_an_untouched_pose_shows_the_image_itself_and_a_whole_cell_is_a_shift():
    frame = Frame(8, (16, 16))
    image = textures(1, 2, 8)
    still = Pose(torch.eye(2)[None], torch.zeros(1, 2))
    torch.testing.assert_close(frame.warped(image, still), image)
    down = frame.warped(image, Pose(torch.eye(2)[None], torch.tensor([[1.0, 0.0]])))
    torch.testing.assert_close(down[:, :, :-1], image[:, :, 1:])


def test_displacements_of_blocks_give_the_transform_they_were_made_by_whatever_a_few_say():
    frame = Frame(32, (64, 64))
    centres = torch.cartesian_prod(*[torch.tensor([-9.0, -3.0, 3.0, 9.0])] * 2)
    linear, offset = turn(3.0, 1.04, 2)[0], torch.tensor([1.0, -2.0])
    moved = centres @ linear.T + offset - centres
    moved[5] = torch.tensor([3.0, 3.0])  # a block that is not what the others are
    found, agreed = frame.fitted(moved[None], centres, torch.ones(1, len(centres)))
    assert agreed.item() == pytest.approx(15, abs=0.3)  # all blocks but one
    torch.testing.assert_close(found.linear[0], linear, atol=0.02, rtol=0)
    torch.testing.assert_close(found.offset[0], offset, atol=0.15, rtol=0)


def test_turning_an_oblong_image_keeps_its_angles_in_pixels():
    frame = Frame(32, (100, 50))
    quarter = torch.linalg.matrix_exp(frame.linear[1] * math.pi / 2)
    side = torch.diag(torch.tensor([100.0, 50.0]))
    pixels = side @ quarter @ torch.linalg.inv(side)
    torch.testing.assert_close(pixels, torch.tensor([[0.0, -1.0], [1.0, 0.0]]), atol=1e-5, rtol=0)


def test_a_pose_is_within_its_bounds_or_replaced():
    pose = Pose(torch.stack([torch.eye(2), 1.5 * torch.eye(2)]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert pose.within(2, 0.2).tolist() == [True, False]
    assert pose.within(0.5, 0.2).tolist() == [False, False]
    still = Pose(torch.eye(2).expand(2, -1, -1), torch.zeros(2, 2))
    kept = pose.or_else(pose.within(2, 0.2), still)
    assert kept.linear[1].equal(torch.eye(2)) and kept.offset[0].tolist() == [1.0, 0.0]
