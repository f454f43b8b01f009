"""What must hold of every head CT volume: HU, ventricles that widen with age, haemorrhage, size and thickness."""

import numpy as np
import pytest

from medsynth.phantoms.head_ct import HEAD_CT
from medsynth.phantoms.phantom import PhantomImage

STRUCTURES = HEAD_CT.structures
SIZE = (32, 32, 32)


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return HEAD_CT.render(seed, size, **overrides)


def part(image: PhantomImage, name: str) -> np.ndarray:
    return image.labels == STRUCTURES[name]


@pytest.mark.parametrize("size", [(16, 16, 16), (40, 24, 48), (16, 80, 80)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size)
    assert image.voxels.shape == (1, *size) and image.labels.shape == size
    assert image.voxels.min() < -900 and image.voxels.max() > 250


def test_another_size_shows_the_same_patient():
    small, large = (render(2, size, pathology="haemorrhage", severity=0.9) for size in (SIZE, (64, 64, 64)))
    shrunk = large.voxels[0].reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
    assert np.median(np.abs(shrunk - small.voxels[0])) < 15
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.04) if isinstance(value, float) else value)


def test_tissues_have_their_hu_and_the_face_is_in_front():
    image = render(3, (64, 64, 64), pathology="normal", contrast_agent="none", age_years=30.0, slice_thickness_mm=2.0)
    hu = {name: np.median(image.voxels[0][part(image, name)]) for name in STRUCTURES if name != "lesion"}
    assert hu["grey_matter"] == pytest.approx(39, abs=6) and hu["white_matter"] == pytest.approx(30, abs=5)
    assert hu["fluid"] < 28 < hu["grey_matter"] < 400 < hu["bone"]
    place = {name: np.argwhere(part(image, name)).mean(0) / 64 for name in ("air_cells", "white_matter")}
    assert place["air_cells"][1] > 0.6 and place["air_cells"][0] < 0.4 < place["white_matter"][0]


def test_fluid_grows_with_age_in_everyone():
    for seed in range(3):
        share = []
        for age in (20.0, 60.0, 90.0):
            image = render(seed, pathology="normal", age_years=age)
            brain = part(image, "fluid") | part(image, "white_matter") | part(image, "grey_matter")
            share.append(part(image, "fluid").sum() / brain.sum())
        assert share[0] < share[1] < share[2]


def test_ventricles_widen_with_age():
    """Fluid within the middle of the brain: more than 35 mm from bone, across, and above the base."""
    for seed in range(3):
        wide = []
        for age in (20.0, 90.0):
            image = render(seed, (32, 64, 64), pathology="normal", age_years=age, slice_thickness_mm=4.0)
            middle = np.s_[15:23, 22:42, 22:42]
            wide.append(part(image, "fluid")[middle].sum())
        assert wide[1] > 1.25 * wide[0]


def test_severity_enlarges_a_haemorrhage_which_is_brighter_than_brain():
    for seed in range(5):
        well, mild, worse = (render(seed, pathology="haemorrhage", severity=level) for level in (0.0, 0.2, 1.0))
        marked = [part(image, "lesion") for image in (mild, worse)]
        assert 0 < marked[0].sum() < marked[1].sum()
        assert np.median(worse.voxels[0][marked[1]]) > np.median(worse.voxels[0][part(worse, "white_matter")]) + 15
        outside = well.labels == 0
        assert np.median(np.abs(mild.voxels[0] - worse.voxels[0])[outside]) == 0
        stated = [worse.conditions[f"lesion_{axis}"] for axis in "zyx"]
        assert np.allclose((np.argwhere(marked[1]).mean(0) + 0.5) / SIZE, stated)


def test_a_normal_patient_has_no_lesion():
    image = render(4, pathology="normal", severity=0.7)
    assert image.conditions["severity"] == 0 and image.conditions["lesion_size"] == "n/a"
    assert not part(image, "lesion").any()
