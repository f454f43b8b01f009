"""Known answers of painting a plane: areas, places and sections of solids."""

import numpy as np
import pytest

from medsynth.phantoms.section import Section, Solid, inset, on_rim
from medsynth.phantoms.shapes import Blob


def test_a_painted_disc_has_its_area_and_place_at_any_size():
    for side in (64, 200):
        section = Section((side, side), 20.0, 0.0, shift=(1.0, -2.0))
        section.paint(Blob((3.0, 2.0), (4.0, 4.0)), 1.0, number=7)
        assert section.values.sum() * section.pixel**2 == pytest.approx(np.pi * 16, rel=0.02)
        at = (section.place * section.values).sum((1, 2)) / section.values.sum()
        np.testing.assert_allclose(at, (3, 2), atol=0.02)
        corner = np.argwhere(section.labels == 7).mean(0) * section.pixel
        np.testing.assert_allclose(corner, (10 + 1 + 3, 10 - 2 + 2), atol=0.25)


def test_deposits_keep_their_area_and_their_middle_and_never_cover_twice():
    section = Section((50, 50), 25.0, 0.0, shift=(0.7, 0.0))
    share = section.deposit(np.array([[2.03, -3.31]]), np.array([0.1]))
    assert share.sum() * section.pixel**2 == pytest.approx(0.1)
    np.testing.assert_allclose((section.place * share).sum((1, 2)) / share.sum(), (2.03, -3.31), atol=1e-9)
    assert section.deposit(np.zeros((9, 2)), np.full(9, 5.0)).max() == 1
    assert not section.deposit(np.array([[90.0, 0.0]]), np.array([1.0])).any()


def test_a_section_of_an_ellipsoid_shrinks_as_the_sphere_does():
    ball = Solid(Blob((1.0, 2.0), (5.0, 10.0)), middle=3.0, half=5.0)
    assert ball.at(3.0).radii == (5.0, 10.0)
    assert ball.at(6.0).radii == pytest.approx((4.0, 8.0))
    assert ball.at(8.1) is None and ball.at(-2.1) is None


def test_inset_and_rim_follow_the_ellipse():
    blob = Blob((1.0, 0.0), (3.0, 5.0))
    assert inset(blob, 1.0).radii == (2.0, 4.0)
    y, x, tangent = on_rim(blob, np.pi / 2)
    assert (y, x) == pytest.approx((4.0, 0.0)) and abs(np.cos(tangent)) == pytest.approx(1.0)
