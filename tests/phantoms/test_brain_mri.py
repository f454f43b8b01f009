"""What must hold of every brain MRI volume: contrast of the sequences, ageing, lesions, Rician noise."""

import numpy as np
import pytest

from medsynth.phantoms.brain_mri import BRAIN_MRI, LESIONS
from medsynth.phantoms.mri import Scan
from medsynth.phantoms.mri_scan import receive
from medsynth.phantoms.phantom import PhantomImage
from medsynth.phantoms.volume import Volume

STRUCTURES = BRAIN_MRI.structures
SIZE = (32, 32, 32)


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return BRAIN_MRI.render(seed, size, **overrides)


def part(image: PhantomImage, name: str) -> np.ndarray:
    return image.labels == STRUCTURES[name]


def test_the_background_has_the_rayleigh_mean_of_rician_noise_which_thin_slices_have_more_of():
    scan = Scan("t1", 1.5, 20.0, 240.0, 0.05, (1.0, 1.0, 1.0), (0.0, 0.0))
    spread = []
    for thickness in (0.1, 0.4):
        volume = Volume((32, 64, 64), (20.0, 24.0, 24.0), thickness, 0.0)
        seen = receive(np.random.default_rng(0), volume, np.zeros(volume.size), scan, 1.0, 1.0)
        assert seen.mean() / np.sqrt((seen**2).mean()) == pytest.approx(np.sqrt(np.pi) / 2, rel=0.01)
        spread.append(seen.std())
    assert spread[0] == pytest.approx(4 * spread[1], rel=1e-6)


@pytest.mark.parametrize("size", [(16, 16, 16), (24, 48, 32)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size, pathology="tumour", severity=0.7)
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and set(np.unique(image.labels)) == {0, *STRUCTURES.values()}
    assert 0 <= image.voxels.min() < 0.1 and 0.4 < image.voxels.max() <= 1


def test_another_size_shows_the_same_patient():
    small, large = (render(2, size, pathology="tumour", severity=0.9) for size in (SIZE, (64, 64, 64)))
    shrunk = large.voxels[0].reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.04
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.04) if isinstance(value, float) else value)


def test_sequences_order_the_tissues_as_readers_know_them_on_one_anatomy():
    images = {
        sequence: render(3, (48, 48, 48), sequence=sequence, pathology="normal", age_years=30.0)
        for sequence in ("t1", "t2", "flair")
    }
    level = {
        sequence: [np.median(image.voxels[0][part(image, name)]) for name in ("white_matter", "grey_matter", "fluid")]
        for sequence, image in images.items()
    }
    assert level["t1"][0] > level["t1"][1] > level["t1"][2]
    assert level["t2"][0] < level["t2"][1] < level["t2"][2]
    assert level["flair"][2] < level["flair"][0] < level["flair"][1]
    assert np.array_equal(images["t1"].labels, images["t2"].labels)


def test_gadolinium_brightens_a_tumour_in_t1():
    plain, bright = (
        render(5, (48, 48, 48), sequence="t1", pathology="tumour", severity=0.5, contrast_agent=agent)
        for agent in ("none", "gadolinium")
    )
    marked = part(plain, "lesion")
    assert bright.voxels[0][marked].mean() > 1.05 * plain.voxels[0][marked].mean()


@pytest.mark.parametrize("pathology", LESIONS)
def test_severity_enlarges_a_lesion_that_lies_in_the_brain_where_its_columns_say(pathology):
    for seed in range(3):
        well = render(seed, pathology="normal", sequence="flair")
        mild, worse = (render(seed, pathology=pathology, severity=level, sequence="flair") for level in (0.2, 1.0))
        marked = part(worse, "lesion")
        assert 0 < part(mild, "lesion").sum() < marked.sum()
        assert np.isin(well.labels[marked], [1, 2, 3]).mean() > 0.95
        assert worse.voxels[0][marked].mean() > 1.1 * well.voxels[0][marked].mean()  # bright in FLAIR
        stated = [worse.conditions[f"lesion_{axis}"] for axis in "zyx"]
        assert np.allclose((np.argwhere(marked).mean(0) + 0.5) / SIZE, stated)
        assert well.conditions["lesion_size"] == "n/a"


def test_fluid_grows_with_age():
    for seed in range(2):
        young, old = (render(seed, pathology="normal", age_years=age) for age in (20.0, 90.0))
        assert part(old, "fluid").sum() > 1.1 * part(young, "fluid").sum()
