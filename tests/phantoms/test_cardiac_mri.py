"""What must hold of every cardiac MRI volume: volumes over the cycle, contrast of the sequences, two diseases."""

import numpy as np
import pytest

from medsynth.phantoms.cardiac_mri import CARDIAC_MRI, ECHO_MS, FLIP, REPEAT_MS, STRUCTURES, balanced, ejected
from medsynth.phantoms.phantom import PhantomImage

SIZE = (32, 32, 32)


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return CARDIAC_MRI.render(seed, size, **overrides)


def part(image: PhantomImage, name: str) -> np.ndarray:
    return image.labels == STRUCTURES[name]


def millilitres(image: PhantomImage, name: str) -> float:
    return float(part(image, name).sum() * np.prod(image.spacing_mm) / 1000)


def test_balanced_precession_has_its_limits():
    """T1 = T2 much longer than the repetition time: (1 - E1) / (1 - E1^2) goes to a half (Haacke et al. 1999)."""
    long = 1e6
    expected = np.sin(FLIP) / (1 + np.cos(FLIP) + (1 - np.cos(FLIP)))
    assert balanced(long, long, 1.0) == pytest.approx(expected, rel=1e-3)
    assert balanced(1000, 50, 0.5) == pytest.approx(balanced(1000, 50, 1.0) / 2)
    assert balanced(1000, 250, 1.0) > balanced(1000, 50, 1.0) and ECHO_MS < REPEAT_MS


def test_the_stroke_leaves_once_a_cycle():
    assert ejected(0.0) == ejected(1.0) == 0 and ejected(0.36) == 1
    assert ejected(0.1) < ejected(0.3) and ejected(0.5) > ejected(0.7)


@pytest.mark.parametrize("size", [(16, 16, 16), (24, 48, 32)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size)
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32 and image.labels.shape == size
    assert 0 <= image.voxels.min() < 0.1 and 0.4 < image.voxels.max() <= 1


def test_another_size_shows_the_same_patient():
    small, large = (render(2, size, pathology="pericardial_effusion", severity=0.8) for size in (SIZE, (64, 64, 64)))
    shrunk = large.voxels[0].reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.05
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.04) if isinstance(value, float) else value)


@pytest.mark.parametrize(("severity", "low", "high"), [(0.0, 0.5, 0.75), (1.0, 0.1, 0.35)])
def test_the_ejection_fraction_is_normal_or_falls_with_dilatation(severity, low, high):
    for seed in range(2):
        full, emptied = (
            render(
                seed,
                (64, 64, 64),
                pathology="dilated_cardiomyopathy",
                severity=severity,
                cycle_phase=phase,
                slice_thickness_mm=2.0,
                age_years=45.0,
            )
            for phase in (0.0, 0.36)
        )
        volumes = [millilitres(image, "left_ventricle") for image in (full, emptied)]
        assert low < 1 - volumes[1] / volumes[0] < high
        assert 70 < volumes[0] < 350
        walls = [millilitres(image, "myocardium") for image in (full, emptied)]
        assert walls[1] == pytest.approx(walls[0], rel=0.15)  # the muscle keeps its volume
        assert millilitres(emptied, "right_ventricle") < millilitres(full, "right_ventricle")
        assert millilitres(emptied, "left_atrium") > millilitres(full, "left_atrium")


def test_blood_is_bright_in_balanced_sequences_and_black_in_t1_on_one_anatomy():
    bright, black = (render(3, (48, 48, 48), sequence=sequence, pathology="normal") for sequence in ("ssfp", "t1"))
    assert np.array_equal(bright.labels, black.labels)
    levels = [
        [np.median(image.voxels[0][part(image, name)]) for name in ("left_ventricle", "myocardium")]
        for image in (bright, black)
    ]
    assert levels[0][0] > 1.5 * levels[0][1] and levels[1][0] < 0.6 * levels[1][1]


def test_chambers_lie_where_they_do():
    image = render(4, (48, 48, 48), pathology="normal", cycle_phase=0.0)
    place = {name: np.argwhere(part(image, name)).mean(0) for name in STRUCTURES if name not in ("lesion", "aorta")}
    assert place["left_ventricle"][2] < place["right_atrium"][2]  # axes point to the head, the front and the right
    assert place["right_ventricle"][1] > place["left_atrium"][1]
    assert place["left_atrium"][0] > place["left_ventricle"][0] > place["liver"][0]


def test_an_effusion_surrounds_the_heart_and_grows_with_severity():
    for seed in range(3):
        mild, worse = (render(seed, pathology="pericardial_effusion", severity=level) for level in (0.3, 1.0))
        well = render(seed, pathology="normal")
        marked = part(worse, "lesion")
        assert 0 < part(mild, "lesion").sum() < marked.sum()
        stated = [worse.conditions[f"lesion_{axis}"] for axis in "zyx"]
        assert np.allclose((np.argwhere(marked).mean(0) + 0.5) / SIZE, stated)
        assert well.conditions["lesion_size"] == "n/a" and not part(well, "lesion").any()
        assert np.median(np.abs(mild.voxels[0] - worse.voxels[0])[~marked]) == 0
