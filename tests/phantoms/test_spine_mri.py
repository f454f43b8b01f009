"""What must hold of every spine MRI volume: contrast of the sequences, discs that dry with age, herniation."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medsynth.phantoms.phantom import PhantomImage
from medsynth.phantoms.spine_mri import SPINE_MRI, STRUCTURES

SIZE = (32, 32, 32)


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return SPINE_MRI.render(seed, size, **overrides)


def part(image: PhantomImage, name: str) -> np.ndarray:
    return image.labels == STRUCTURES[name]


def level(image: PhantomImage, name: str) -> float:
    return float(np.median(image.voxels[0][part(image, name)]))


@pytest.mark.parametrize("size", [(16, 16, 16), (24, 48, 32)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size)
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32 and image.labels.shape == size
    assert 0 <= image.voxels.min() < 0.15 and 0.4 < image.voxels.max() <= 1


def test_another_size_shows_the_same_patient():
    small, large = (render(2, size, pathology="disc_herniation", severity=0.9) for size in ((48,) * 3, (96,) * 3))
    shrunk = large.voxels[0].reshape(48, 2, 48, 2, 48, 2).mean((1, 3, 5))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.04
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.04) if isinstance(value, float) else value)


def test_fluid_is_bright_in_t2_and_dark_in_t1_on_one_anatomy():
    t1, t2 = (
        render(3, (64, 64, 64), sequence=sequence, pathology="normal", age_years=40.0) for sequence in ("t1", "t2")
    )
    assert np.array_equal(t1.labels, t2.labels)
    assert level(t2, "canal") > 1.5 * level(t2, "cord") > 1.5 * level(t2, "muscle")
    assert level(t1, "canal") < level(t1, "cord") and level(t1, "fat") > 1.3 * level(t1, "muscle")
    assert level(t1, "vertebrae") > level(t1, "discs")


def test_parts_lie_where_they_do_in_axes_to_the_head_the_front_and_the_right():
    image = render(4, (64, 64, 64), pathology="normal")
    place = {name: np.argwhere(part(image, name)).mean(0) for name in STRUCTURES if name != "lesion"}
    assert place["vessels"][1] > place["discs"][1] > place["canal"][1] > place["muscle"][1] - 12
    assert place["cord"][0] > place["canal"][0]  # the cord ends above the sac
    assert abs(place["discs"][2] - 32) < 4


def test_discs_dry_with_age():
    for seed in range(3):
        young, old = (
            render(seed, (48, 48, 48), sequence="t2", pathology="normal", age_years=age, slice_thickness_mm=3.0)
            for age in (20.0, 90.0)
        )
        bright = [
            np.quantile(image.voxels[0][part(image, "discs")], 0.9) / level(image, "muscle") for image in (young, old)
        ]
        assert bright[1] < 0.85 * bright[0]


def test_a_herniation_narrows_the_canal_behind_a_disc_more_when_more_severe():
    for seed in range(3):
        well = render(seed, (48, 48, 48), pathology="normal", sequence="t2", slice_thickness_mm=3.0)
        mild, worse = (
            render(
                seed,
                (48, 48, 48),
                pathology="disc_herniation",
                severity=severity,
                sequence="t2",
                slice_thickness_mm=3.0,
            )
            for severity in (0.2, 1.0)
        )
        marked = part(worse, "lesion")
        assert 0 < part(mild, "lesion").sum() < marked.sum()
        assert part(worse, "canal").sum() < part(well, "canal").sum()
        assert (part(well, "discs") & binary_dilation(marked, iterations=2)).any()
        within = np.isin(well.labels[marked], [STRUCTURES["canal"], STRUCTURES["fat"], STRUCTURES["cord"], 0])
        assert within.mean() > 0.4
        assert worse.voxels[0][marked].mean() < well.voxels[0][part(well, "canal")].mean()  # darker than fluid
        stated = [worse.conditions[f"lesion_{axis}"] for axis in "zyx"]
        assert np.allclose((np.argwhere(marked).mean(0) + 0.5) / 48, stated)
        assert well.conditions["lesion_size"] == "n/a"


def test_a_thick_slice_blurs_the_edge_of_a_disc_along_z():
    sharp, blurred = (
        render(5, (96, 32, 32), sequence="t2", pathology="normal", slice_thickness_mm=mm, age_years=25.0).voxels[0]
        for mm in (1.0, 8.0)
    )
    column = np.s_[20:76, 16:20, 14:18]
    steep = [np.abs(np.diff(image[column].mean((1, 2)))).max() for image in (sharp, blurred)]
    assert steep[1] < 0.6 * steep[0]
