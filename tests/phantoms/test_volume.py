"""Known answers of the painter of volumes: slice thickness, volumes, thin bodies, places."""

import numpy as np
import pytest

from medsynth.phantoms.bodies import Body, curve, ellipsoid, half_space, loft, rotation, tube
from medsynth.phantoms.phantom import NOT_APPLICABLE
from medsynth.phantoms.volume import Volume, mark_lesion, measure_ball


def block(size=(24, 24, 24), field=(12.0, 12.0, 12.0), thickness=0.5, middle=(0.0, 0.0, 0.0)) -> Volume:
    return Volume(size, field, thickness, 0.0, middle)


def covered(volume: Volume, body: Body) -> float:
    return float(volume.cover(body).mean(1).sum() * np.prod(volume.spacing))


@pytest.mark.parametrize("thickness", [0.2, 0.5, 1.3])
def test_an_edge_across_z_is_as_wide_as_the_slice_thickness(thickness):
    """A box of that width: its share of a plane's two sides rises evenly from 0 to 1."""
    volume = block((240, 3, 3), thickness=thickness)
    volume.paint(half_space((1.0, 0, 0), 0.013), 100.0)
    seen = volume.mean()[:, 1, 1]
    z = volume.z.mean(1).ravel()
    np.testing.assert_allclose(seen, 100 * np.clip(0.5 + (0.013 - z) / thickness, 0, 1), atol=0.1)
    edge = z[(seen > 10) & (seen < 90)]
    assert np.ptp(edge) == pytest.approx(0.8 * thickness, abs=2 * volume.spacing[0])


def test_thin_slices_leave_gaps_and_spacing_is_of_the_voxels():
    volume = block((8, 24, 24), thickness=0.1)
    volume.paint(ellipsoid((0.0, 0, 0), (0.3, 3, 3)), 1.0)
    assert volume.spacing_mm == pytest.approx((15, 5, 5))
    assert volume.mean().max() == 0  # it lies between two slices, at 0.75 cm before and behind


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ellipsoid((0.2, -0.3, 0.1), (3.0, 2.0, 4.0)), 4 / 3 * np.pi * 24),
        (ellipsoid((0.2, -0.3, 0.1), (3.0, 2.0, 4.0), rotation(0.4, 0.7, 0.2)), 4 / 3 * np.pi * 24),
        (loft([-3.0, 3.0], 0.0, 0.0, 2.0, [1.0, 3.0]), 6 * np.pi * 2 * 2),
        (ellipsoid((0, 0, 0), (3, 3, 3)) - half_space((0, 1.0, 0), 0.0), 4 / 3 * np.pi * 27 / 2),
        (ellipsoid((0, 0, 0), (3, 3, 3)).grown(-1.0), 4 / 3 * np.pi * 8),
        (ellipsoid((0.1, 0.1, 0.1), (0.5, 0.5, 0.5)), 4 / 3 * np.pi * 0.5**3),
    ],
)
def test_bodies_cover_their_volume(body, expected):
    assert covered(block(), body) == pytest.approx(expected, rel=0.15 if expected < 1 else 0.03)


@pytest.mark.parametrize("radius", [0.08, 0.2, 1.0])
def test_tubes_cover_their_volume_painted_or_as_strands(radius):
    way = curve([(-4, -3, -2), (0, 1, 0), (4, 2, 3)], 12)
    length = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
    expected = np.pi * radius**2 * length
    volume = block()
    strands = volume.strands(way[None], np.full((1, 12), radius)).mean(1).sum() * np.prod(volume.spacing)
    assert strands == pytest.approx(expected, rel=0.1)
    if radius < 0.1:  # far thinner than a voxel: strands alone are meant for it
        return
    volume.paint(tube(way, radius), 1.0)
    ends = 4 / 3 * np.pi * radius**3
    assert volume.mean().sum() * np.prod(volume.spacing) == pytest.approx(expected + ends, rel=0.3)


def test_overlapping_slices_each_hold_the_balls_of_their_thickness():
    volume = block(thickness=1.5)  # three times the spacing
    share = volume.deposit(np.array([[0.1, 0.1, 0.1]]), np.array([1e-3]))
    assert (share.mean(1).sum((1, 2)) > 0).sum() == 3
    assert share.mean(1).sum() * np.prod(volume.spacing) == pytest.approx(3 * 1e-3 / 3, rel=1e-3)


def test_a_texture_is_the_same_field_at_any_size():
    one, two = (block(size, thickness=0.3).texture(np.random.default_rng(1), 5) for size in ((12,) * 3, (24,) * 3))
    np.testing.assert_allclose(two.reshape(12, 2, 3, 12, 2, 12, 2).mean((1, 2, 4, 6)), one.mean(1), atol=0.1)
    assert one.std() == pytest.approx(1, abs=0.35)


def test_a_lesion_is_measured_where_it_is_and_a_small_one_still_has_a_voxel():
    labels = np.zeros((10, 20, 20), np.uint8)
    labels[2:6, 4:12, 10:14] = 3
    found = measure_ball(labels, 3, (1.0, 0.5, 0.5))
    assert (found["lesion_z"], found["lesion_y"], found["lesion_x"]) == pytest.approx((0.4, 0.4, 0.6))
    assert found["lesion_size"] == pytest.approx((6 / np.pi * 32) ** (1 / 3) / 10)
    assert set(measure_ball(labels, 4, (1, 1, 1)).values()) == {NOT_APPLICABLE}
    share = np.zeros(labels.shape)
    share[1, 2, 3] = 0.2
    mark_lesion(labels, share, 9)
    assert np.argwhere(labels == 9).tolist() == [[1, 2, 3]]
