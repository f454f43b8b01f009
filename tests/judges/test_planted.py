import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsynth.judges.copies import TrainingIndex
from medsynth.judges.planted import KINDS, planted

pytestmark = pytest.mark.xdist_group("planted")  # the fixture below is made once

SPREAD = 65535
COUNT = 60
WHOLE = ("exact", "mirrored", "gamma 0.7 or 1.4", "noise of 5 %", "turned 5°", "scaled 10 %", "shifted 10 %")


def textured(count: int, seed: int, dims: int = 2, side: int = 64) -> np.ndarray:
    """Bodies of one outline, each with blobs of its own."""
    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.normal(size=(count, 1, *[side] * dims)), (0, 0, *[side / 16] * dims))
    axes = np.meshgrid(*[np.linspace(-1, 1, side)] * dims, indexing="ij")
    body = sum(axis**2 for axis in axes) < 0.8
    shown = (0.5 + 0.15 * blobs / blobs.std()) * body + 0.05
    return (shown.clip(0, 1) * SPREAD).astype(np.uint16)


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Which planted copies are above the limits, and how alike each is."""
    training, validation, held_out = textured(150, 0), textured(100, 1), textured(100, 2)
    index = TrainingIndex(training)
    real = index.nearest(validation)
    shown = {}
    for kind, images, rows in planted(training, held_out, COUNT, (0,)):
        likeness = index.nearest(images)
        above = (likeness.whole > real.whole.max()) | (likeness.parts > real.parts.max())
        shown[kind] = (above, likeness.position == rows)
    return shown


def test_what_must_be_found_is_found_and_named(found):
    assert found.keys() == KINDS.keys()
    for kind in WHOLE:
        above, named = found[kind]
        assert len(above) == COUNT and above.mean() >= 0.95, kind
        assert named.mean() >= 0.95, kind
    assert found["two thirds copied"][0].mean() >= 0.8


def test_each_kind_is_what_it_says():
    training, held_out = textured(20, 0), textured(7, 1)
    made = {kind: (images, rows) for kind, images, rows in planted(training, held_out, COUNT, (0,))}
    for images, rows in made.values():
        assert images.shape == training.shape and images.dtype == np.uint16 and len(set(rows)) == 20
    images, rows = made["exact"]
    assert np.array_equal(images, training[rows])
    images, rows = made["mirrored"]
    assert np.array_equal(images, training[rows][..., ::-1])
    images, rows = made["noise of 5 %"]
    middle = (training[rows] > 0.3 * SPREAD) & (training[rows] < 0.7 * SPREAD)
    assert (images - training[rows].astype(float))[middle].std() / SPREAD == pytest.approx(0.05, abs=0.002)
    images, rows = made["two thirds copied"]
    same = images == training[rows]
    lines = np.maximum(same.all((1, 2)).sum(1), same.all((1, 3)).sum(1))
    assert (lines >= 43).all()  # of 64
    images, rows = made["lesion transplanted"]
    same = (images == training[rows]).mean((1, 2, 3))
    assert (same >= 1 / 16).all()


def test_a_shift_is_a_tenth_of_each_side_and_a_turn_five_degrees():
    marks = np.zeros((1, 1, 80, 80), np.uint16)
    marks[..., 38:42, 58:62] = SPREAD
    centre = {}
    for kind, images, _ in planted(marks, marks, COUNT, (0,)):
        weight = images[0, 0].astype(float)
        centre[kind] = [(weight * place).sum() / weight.sum() - 39.5 for place in np.indices((80, 80))]
    assert np.abs(np.array(centre["shifted 10 %"]) - [0, 20]) == pytest.approx(8, abs=0.2)
    down, right = centre["turned 5°"]
    assert abs(np.degrees(np.arctan2(down, right))) == pytest.approx(5, abs=0.2)
    assert centre["scaled 10 %"][1] == pytest.approx(22, abs=0.3) or centre["scaled 10 %"][1] == pytest.approx(
        18.2, abs=0.3
    )


def test_the_same_seed_plants_the_same_copies():
    images = textured(5, 0)
    first, again, other = (
        dict((kind, made) for kind, made, _ in planted(images, images, COUNT, (seed,))) for seed in (0, 0, 1)
    )
    assert all(np.array_equal(first[kind], again[kind]) for kind in KINDS)
    assert not np.array_equal(first["turned 5°"], other["turned 5°"])


def test_copies_of_volumes_are_planted_and_found():
    training, held_out = textured(40, 0, 3, 24), textured(10, 1, 3, 24)
    index = TrainingIndex(training)
    limit = index.nearest(held_out).whole.max()
    for kind, images, rows in planted(training, held_out, COUNT, (0,)):
        if kind in ("exact", "mirrored", "gamma 0.7 or 1.4", "turned 5°"):
            likeness = index.nearest(images)
            assert (likeness.whole > limit).mean() >= 0.95 and (likeness.position == rows).mean() >= 0.95, kind
