"""The brain in a plane: shares add up, ventricles widen with age, places lie within."""

import numpy as np
import pytest

from medsynth.errors import InputError
from medsynth.phantoms import brain as brain_module
from medsynth.phantoms.brain import atrophy, draw_brain, draw_spot, template
from medsynth.phantoms.shapes import places

PLACE = places((96, 96)) * 230 - 115


def fluid(age: float, seed: int) -> float:
    brain = draw_brain(np.random.default_rng(seed), PLACE, 18.0, age)
    return float(brain.fluid.sum() / (brain.grey + brain.white + brain.fluid).sum())


def test_shares_add_up_within_the_meninges_and_vanish_outside():
    brain = draw_brain(np.random.default_rng(0), PLACE, 18.0, 40)
    total = brain.grey + brain.white + brain.fluid
    np.testing.assert_allclose(total[brain.outside < -3], 1, atol=1e-3)
    assert not total[brain.outside > 3].any()
    assert 0.3 < brain.white.sum() / brain.grey.sum() < 2


def test_fluid_grows_with_age_in_everyone():
    assert atrophy(20) == 0 and atrophy(100) == 1
    for seed in range(4):
        assert fluid(20, seed) < fluid(60, seed) < fluid(90, seed)


def test_a_spot_lies_as_deep_as_asked():
    outside = template()[2]
    for seed in range(10):
        x, y = draw_spot(np.random.default_rng(seed), 20.0, 12.0)
        row = [
            round((at + origin) / brain_module.COARSE)
            for at, origin in zip((x, y, 20), brain_module.ORIGIN, strict=True)
        ]
        assert outside[tuple(row)] < -9


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(brain_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="package nilearn, which is not installed"):
        template.__wrapped__()
