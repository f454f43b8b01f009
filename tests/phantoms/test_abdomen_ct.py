"""What must hold of every abdominal CT volume: HU of the phase, places of the organs, lesions."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from medsynth.phantoms.abdomen_ct import ABDOMEN_CT, STRUCTURES
from medsynth.phantoms.ct_body import ENHANCEMENT
from medsynth.phantoms.phantom import PhantomImage

SIZE = (32, 32, 32)
HOST = {"liver_lesion": ("liver",), "kidney_cyst": ("left_kidney", "right_kidney")}


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return ABDOMEN_CT.render(seed, size, **overrides)


def part(image: PhantomImage, name: str) -> np.ndarray:
    return image.labels == STRUCTURES[name]


@pytest.mark.parametrize("size", [(16, 16, 16), (40, 24, 48)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size)
    assert image.voxels.shape == (1, *size) and image.labels.shape == size
    assert image.voxels.min() < -900 and image.voxels.max() > 150


@pytest.mark.parametrize("pathology", HOST)
def test_another_size_shows_the_same_patient(pathology):
    small, large = (render(2, size, pathology=pathology, severity=0.9) for size in (SIZE, (64, 64, 64)))
    shrunk = large.voxels[0].reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
    assert np.median(np.abs(shrunk - small.voxels[0])) < 20
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.04) if isinstance(value, float) else value)


def test_organs_lie_where_they_do_in_axes_to_the_head_the_front_and_the_right():
    image = render(3, (48, 48, 48), pathology="normal", age_years=40.0)
    place = {
        name: np.argwhere(part(image, name)).mean(0) / 48 for name in STRUCTURES if name not in ("lesion", "lungs")
    }
    assert place["right_kidney"][2] > 0.55 > 0.45 > place["left_kidney"][2]
    assert place["liver"][2] > place["stomach"][2] > place["spleen"][2]
    assert place["vena_cava"][2] > place["aorta"][2] and place["aorta"][1] > place["vertebrae"][1]
    assert place["liver"][0] > place["bowel"][0] > place["pelvis"][0]


@pytest.mark.parametrize("phase", ["none", "arterial", "venous"])
def test_organs_have_the_hu_of_their_phase(phase):
    image = render(4, (64, 64, 64), pathology="normal", contrast_agent=phase, age_years=40.0, slice_thickness_mm=3.0)
    row = ("none", "arterial", "venous").index(phase)
    for name, tissue in (("aorta", "artery"), ("vena_cava", "vein"), ("spleen", "spleen"), ("liver", "liver")):
        inner = binary_erosion(part(image, name))
        low, high = sorted((ENHANCEMENT[tissue][row], ENHANCEMENT[tissue][row] - 22 * (name == "liver")))
        assert low - 25 < np.median(image.voxels[0][inner]) < high + 25, name
    assert np.median(image.voxels[0][part(image, "fat")]) == pytest.approx(-100, abs=15)


@pytest.mark.parametrize("pathology", HOST)
def test_severity_enlarges_a_lesion_in_its_organ_and_its_columns_agree_with_its_label(pathology):
    for seed in range(3):
        well = render(seed, pathology="normal", contrast_agent="venous")
        mild, worse = (
            render(seed, pathology=pathology, severity=level, contrast_agent="venous") for level in (0.2, 1.0)
        )
        small, marked = part(mild, "lesion"), part(worse, "lesion")
        assert 0 < small.sum() < marked.sum()
        near = np.isin(well.labels[binary_dilation(small)], [STRUCTURES[name] for name in HOST[pathology]])
        assert near.mean() > 0.25  # a cyst bulges from its kidney and pushes others away
        assert worse.voxels[0][marked].mean() < 80  # darker than liver and kidney with contrast
        stated = [worse.conditions[f"lesion_{axis}"] for axis in "zyx"]
        assert np.allclose((np.argwhere(marked).mean(0) + 0.5) / SIZE, stated)
        assert np.median(np.abs(mild.voxels[0] - worse.voxels[0])[~marked]) == 0


def test_severity_darkens_a_liver_lesion():
    mild, worse = (
        render(6, (48, 48, 48), pathology="liver_lesion", severity=level, contrast_agent="venous")
        for level in (0.3, 1.0)
    )
    core = part(mild, "lesion") & part(worse, "lesion")
    assert np.median(worse.voxels[0][core]) < np.median(mild.voxels[0][core]) - 8


def test_a_cyst_is_as_dark_as_water():
    for seed in range(2):
        image = render(seed, (64, 64, 64), pathology="kidney_cyst", severity=0.8, slice_thickness_mm=3.0)
        assert np.median(image.voxels[0][binary_erosion(part(image, "lesion"))]) == pytest.approx(6, abs=12)
