import numpy as np
import pytest

from medsynth.phantoms.ellipsoids import ELLIPSOIDS, FIELD_MM, NOISE_HU, STRUCTURES

SIZE = (48, 48, 48)


def render(seed: int, size: tuple[int, int, int] = SIZE, **conditions):
    return ELLIPSOIDS.render(seed, size, **conditions)


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_is_where_its_conditions_say(seed):
    image = render(seed, pathology="lesion")
    voxels = np.argwhere(image.labels == STRUCTURES["lesion"])
    centre = (voxels.mean(0) + 0.5) / SIZE
    stated = [image.conditions[f"lesion_{axis}"] for axis in "zyx"]
    assert np.abs(centre - stated).max() < 0.5 / min(SIZE)
    diameter = 2 * (3 * len(voxels) / (4 * np.pi)) ** (1 / 3) / SIZE[-1]  # of the ball with as many voxels
    assert diameter == pytest.approx(image.conditions["lesion_size"], rel=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_lies_in_the_liver(seed):
    ill, well = (render(seed, pathology=pathology) for pathology in ("lesion", "normal"))
    inside = well.labels[ill.labels == STRUCTURES["lesion"]]
    assert (inside == STRUCTURES["liver"]).mean() > 0.95
    elsewhere = ill.labels != STRUCTURES["lesion"]
    assert np.array_equal(ill.labels[elsewhere], well.labels[elsewhere])


def test_severity_darkens_the_lesion_alone():
    mild, severe = (render(1, pathology="lesion", severity=severity) for severity in (0.2, 1.0))
    lesion = mild.labels == STRUCTURES["lesion"]
    assert np.array_equal(mild.labels, severe.labels)
    # 0.8 of the range from 30 to -160 HU; the mean over n voxels with an edge that is partly liver
    assert (severe.voxels - mild.voxels)[0][lesion].mean() == pytest.approx(-0.8 * 190, rel=0.15)
    far = np.abs((severe.voxels - mild.voxels)[0][mild.labels < STRUCTURES["liver"]])
    assert np.median(far) == 0


def test_organs_have_their_ct_numbers():
    image = render(0, pathology="normal")
    hounsfield = {
        name: np.median(image.voxels[0][image.labels == n]) for name, n in STRUCTURES.items() if name != "lesion"
    }
    for name, expected in {"body": 20, "spine": 350, "liver": 95}.items():
        assert hounsfield[name] == pytest.approx(expected, abs=10 + NOISE_HU), name
    assert np.median(image.voxels[0][image.labels == 0]) == pytest.approx(-1000, abs=NOISE_HU)


def test_the_liver_is_on_the_right_and_the_spine_behind():
    """Axes point to the head, the front and the right."""
    labels = render(0, pathology="normal").labels
    places = {
        name: (np.argwhere(labels == n).mean(0) + 0.5) / SIZE for name, n in STRUCTURES.items() if name != "lesion"
    }
    assert places["liver"][2] > 0.55 and places["spine"][1] < 0.4
    assert places["left_kidney"][2] < 0.45 < 0.55 < places["right_kidney"][2]


def test_the_patient_is_the_same_at_any_size_and_spacing_fits_the_field():
    small, large = render(5, (16, 24, 20), pathology="lesion"), render(5, (32, 48, 40), pathology="lesion")
    assert small.conditions == large.conditions
    assert small.spacing_mm == pytest.approx((FIELD_MM / 16, FIELD_MM / 24, FIELD_MM / 20))
    halved = large.voxels[0].reshape(16, 2, 24, 2, 20, 2).mean((1, 3, 5))
    assert np.median(np.abs(halved - small.voxels[0])) < 2 * NOISE_HU
