"""What must hold of every chest CT volume: HU, places, lesions, slice thickness, and the radiograph's torso."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from medsynth.phantoms.chest_ct import CHEST_CT, LOBES, STRUCTURES
from medsynth.phantoms.ct_body import ENHANCEMENT
from medsynth.phantoms.phantom import PhantomImage
from medsynth.phantoms.torso import draw_torso

SIZE = (32, 32, 32)
LESIONS = ("nodule", "effusion")


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return CHEST_CT.render(seed, size, **overrides)


def lungs(image: PhantomImage) -> np.ndarray:
    return np.isin(image.labels, [STRUCTURES[name] for name in (*LOBES, "lung_vessels")])


def centre(image: PhantomImage, name: str) -> np.ndarray:
    return np.argwhere(image.labels == STRUCTURES[name]).mean(0) / image.labels.shape


@pytest.mark.parametrize("size", [(16, 16, 16), (40, 24, 48)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size)
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and image.labels.dtype == np.uint8
    assert image.voxels.min() < -900 and image.voxels.max() > 150


def test_another_size_shows_the_same_patient():
    small, large = (render(2, size, pathology="nodule", severity=0.9) for size in (SIZE, (64, 64, 64)))
    shrunk = large.voxels[0].reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
    assert np.median(np.abs(shrunk - small.voxels[0])) < 15
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.04) if isinstance(value, float) else value)
    assert small.spacing_mm == pytest.approx([2 * mm for mm in large.spacing_mm])


def test_organs_lie_where_they_do_in_axes_to_the_head_the_front_and_the_right():
    image = render(3, (48, 48, 48), pathology="normal", age_years=40.0)
    place = {name: centre(image, name) for name in STRUCTURES if name != "lesion"}
    assert place["liver"][2] > place["spleen"][2] + 0.2  # the liver is on the right
    assert place["heart"][2] < 0.5 and place["heart"][1] > place["vertebrae"][1]  # left, and in front of the spine
    assert place["right_upper_lobe"][0] > place["right_middle_lobe"][0] > place["liver"][0]
    assert place["right_lower_lobe"][1] < place["right_middle_lobe"][1]
    assert place["airways"][0] > place["heart"][0]
    assert {name for name in LOBES if (image.labels == STRUCTURES[name]).sum() > 50} == set(LOBES)


@pytest.mark.parametrize("phase", ["none", "arterial", "venous"])
def test_organs_have_the_hu_of_their_phase(phase):
    image = render(4, (64, 64, 64), pathology="normal", contrast_agent=phase, age_years=40.0, slice_thickness_mm=3.0)
    row = ("none", "arterial", "venous").index(phase)
    for name, tissue in (("aorta", "artery"), ("liver", "liver"), ("spleen", "spleen")):
        # Within the organ: all neighbours too, so that no voxel is shared with another tissue.
        inner = uniform_filter1d((image.labels == STRUCTURES[name]).astype(float), 3, axis=1) > 0.9
        inner &= uniform_filter1d((image.labels == STRUCTURES[name]).astype(float), 3, axis=2) > 0.9
        assert np.median(image.voxels[0][inner]) == pytest.approx(ENHANCEMENT[tissue][row], abs=20), name
    assert -920 < np.median(image.voxels[0][lungs(image)]) < -750


def test_the_torso_is_that_of_the_chest_radiograph_of_the_same_seed():
    """As wide and as high as the radiograph's lungs: the radiograph draws its torso from the second of its streams."""
    for seed in range(2):
        image = render(seed, (64, 64, 64), pathology="normal", age_years=50.0, sex="male")
        torso = draw_torso(np.random.default_rng(np.random.SeedSequence(seed).spawn(5)[1]), 50.0, "male")
        z, _, x = np.nonzero(lungs(image))
        assert 0.1 * (np.ptp(x) + 1) * image.spacing_mm[2] == pytest.approx(torso.width, abs=0.15 * image.spacing_mm[2])
        assert 0.1 * (np.ptp(z) + 1) * image.spacing_mm[0] == pytest.approx(torso.height, rel=0.12)


@pytest.mark.parametrize("pathology", LESIONS)
def test_severity_enlarges_a_lesion_and_leaves_the_rest_of_the_patient(pathology):
    for seed in range(3):
        mild, worse = (render(seed, pathology=pathology, severity=level) for level in (0.2, 1.0))
        marked = [image.labels == STRUCTURES["lesion"] for image in (mild, worse)]
        assert 0 < marked[0].sum() < marked[1].sum()
        assert np.median(np.abs(mild.voxels[0] - worse.voxels[0])[~(marked[0] | marked[1])]) == 0


@pytest.mark.parametrize("pathology", LESIONS)
def test_a_lesion_lies_in_a_lung_and_its_columns_agree_with_its_label(pathology):
    well, ill = (render(5, pathology=name, severity=0.8) for name in ("normal", pathology))
    marked = ill.labels == STRUCTURES["lesion"]
    assert lungs(well)[marked].mean() > 0.9
    assert well.voxels[0][marked].mean() < ill.voxels[0][marked].mean() - 200
    stated = [ill.conditions[f"lesion_{axis}"] for axis in "zyx"]
    assert np.allclose((np.argwhere(marked).mean(0) + 0.5) / SIZE, stated)
    assert well.conditions["lesion_size"] == "n/a" and well.conditions["severity"] == 0


def test_a_thick_slice_is_the_mean_of_the_thin_ones_that_it_spans():
    """Along a line through the dome of the diaphragm, from air to the liver; two spacings, half of each neighbour."""
    size = (120, 32, 32)
    spacing = render(6, size).spacing_mm[0]
    images = [render(6, size, pathology="normal", slice_thickness_mm=share * spacing) for share in (1, 2)]
    liver = images[0].labels == STRUCTURES["liver"]
    top = np.where(liver.any(0), size[0] - np.argmax(liver[::-1], 0), 0)
    row, column = np.unravel_index(np.argmax(top), top.shape)
    span = slice(top.max() - 8, top.max() + 8)
    thin, thick = (image.voxels[0][span, row, column] for image in images)
    mean = np.convolve(thin, (0.25, 0.5, 0.25), mode="valid")
    assert np.ptp(thin) > 700
    assert np.abs(thick[1:-1] - mean).max() < 0.15 * np.abs(thick - thin).max() + 15
