"""What must hold of every CT slice that is drawn: HU, noise, regions and lesions."""

import numpy as np
import pytest

from medsynth import registry
from medsynth.errors import InputError
from medsynth.phantoms.ct import REGION_OF, noise
from medsynth.phantoms.ct_body import ENHANCEMENT, draw_patient
from medsynth.phantoms.phantom import PhantomImage
from medsynth.phantoms.section import Section

PHANTOM = registry.PHANTOMS["ct"].load()
STRUCTURES = PHANTOM.structures
SIZE = (64, 64)


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return PHANTOM.render(seed, size, **overrides)


def area(image: PhantomImage) -> int:
    return int((image.labels == STRUCTURES["lesion"]).sum())


@pytest.mark.parametrize("region", ["chest", "abdomen", "head"])
@pytest.mark.parametrize("size", [(16, 16), (64, 64), (48, 80), (160, 160)])
def test_shapes_types_and_range_at_any_size(region, size):
    image = render(1, size, region=region)
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and image.labels.dtype == np.uint8
    assert image.voxels.min() < -900 and image.voxels.max() > 150
    assert image.spacing_mm[0] * min(size) == pytest.approx(render(1, region=region).spacing_mm[0] * 64)


@pytest.mark.parametrize("pathology", ["normal", *REGION_OF])
def test_another_size_shows_the_same_patient(pathology):
    region = REGION_OF.get(pathology, "chest")
    small = render(2, pathology=pathology, region=region, severity=0.8)
    large = render(2, (128, 128), pathology=pathology, region=region, severity=0.8)
    shrunk = large.voxels[0].reshape(64, 2, 64, 2).mean((1, 3))
    assert np.abs(shrunk - small.voxels[0]).mean() < 30
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.03) if isinstance(value, float) else value)


def test_organs_have_the_hu_of_their_phase():
    for phase, row in zip(("none", "arterial", "venous"), range(3), strict=True):
        for seed in range(4):
            image = render(seed, (128, 128), region="abdomen", pathology="normal", contrast_agent=phase)
            kidneys = np.median(image.voxels[0][image.labels == STRUCTURES["kidneys"]])
            low, high = sorted((ENHANCEMENT["medulla"][row], ENHANCEMENT["cortex"][row]))
            assert low - 25 < kidneys < high + 25
            chest = render(seed, (128, 128), region="chest", pathology="normal", contrast_agent=phase)
            assert -950 < np.median(chest.voxels[0][chest.labels == STRUCTURES["lungs"]]) < -700


def test_noise_rises_with_frequency_and_with_the_bodys_width():
    patient = draw_patient(np.random.default_rng(0), {"age_years": 40.0, "sex": "male", "region": "abdomen"} | PHASE)
    section = Section((256, 256), patient.field, 0.0)
    power = np.abs(np.fft.fft2(noise(np.random.default_rng(1), section, patient))) ** 2
    down, across = np.abs(np.fft.fftfreq(256, 1 / 256))[:, None], np.abs(np.fft.fftfreq(256, 1 / 256))
    frequency = np.hypot(down, across)
    low, mid = (power[(frequency > a) & (frequency < b)].mean() for a, b in ((8, 16), (24, 32)))
    assert 1.3 < mid / low < 3.0  # the ramp: power in proportion to frequency, less the kernel's fall
    # Rays along the wider axis (x) count fewer photons; they measure the frequencies along y.
    ring = (frequency > 20) & (frequency < 60)
    assert power[ring & (down > 3 * across)].mean() > 1.5 * power[ring & (across > 3 * down)].mean()


PHASE = {"contrast_agent": "none"}


@pytest.mark.parametrize("pathology", REGION_OF)
def test_severity_enlarges_a_lesion_and_leaves_the_rest_of_the_patient(pathology):
    for seed in range(5):
        mild, worse = (render(seed, pathology=pathology, severity=level) for level in (0.2, 1.0))
        assert 0 < area(mild) < area(worse)
        far = ~np.isin(worse.labels, [STRUCTURES["lesion"]]) & ~np.isin(mild.labels, [STRUCTURES["lesion"]])
        assert np.median(np.abs(mild.voxels[0] - worse.voxels[0])[far]) == 0


def test_a_normal_patient_has_no_lesion():
    for region in ("chest", "abdomen", "head"):
        image = render(3, region=region, pathology="normal", severity=0.7)
        assert image.conditions["severity"] == 0 and image.conditions["lesion_x"] == "n/a" and area(image) == 0


@pytest.mark.parametrize("pathology", REGION_OF)
def test_the_lesions_columns_agree_with_its_label(pathology):
    image = render(4, (96, 96), pathology=pathology)
    rows, columns = np.nonzero(image.labels == STRUCTURES["lesion"])
    assert image.conditions["lesion_x"] == pytest.approx((columns.mean() + 0.5) / 96)
    assert image.conditions["lesion_y"] == pytest.approx((rows.mean() + 0.5) / 96)
    assert image.conditions["lesion_size"] == pytest.approx(2 * np.sqrt(len(rows) / np.pi) / 96)


def test_blood_is_brighter_and_a_cyst_is_as_dark_as_water():
    for seed in range(4):
        image = render(seed, (128, 128), pathology="haemorrhage", severity=0.8, contrast_agent="none")
        blood, brain = (image.voxels[0][image.labels == STRUCTURES[name]] for name in ("lesion", "brain"))
        assert np.median(blood) > np.median(brain) + 20
        cyst = render(seed, (128, 128), pathology="kidney_cyst", severity=0.8)
        assert abs(np.median(cyst.voxels[0][cyst.labels == STRUCTURES["lesion"]]) - 6) < 12


def test_a_pathology_decides_the_region_and_a_region_its_pathologies():
    assert {render(seed, (16, 16), pathology="nodule").conditions["region"] for seed in range(6)} == {"chest"}
    drawn = {render(seed, (16, 16), region="head").conditions["pathology"] for seed in range(12)}
    assert drawn == {"normal", "haemorrhage"}
    with pytest.raises(InputError, match="pathology 'nodule' with region 'head', expected region 'chest'"):
        render(0, pathology="nodule", region="head")
