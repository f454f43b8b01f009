"""Known answers of the signal equations, and what must hold of every brain MRI slice that is drawn."""

import numpy as np
import pytest

from medsynth import registry
from medsynth.phantoms.mri import TISSUES, Scan, receive, signal, signals
from medsynth.phantoms.phantom import PhantomImage

PHANTOM = registry.PHANTOMS["mri"].load()
STRUCTURES = PHANTOM.structures
SIZE = (64, 64)
DISEASES = ("tumour", "white_matter_lesions", "infarct")


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return PHANTOM.render(seed, size, **overrides)


def scan(sequence: str, tesla: float = 1.5) -> Scan:
    return Scan(sequence, tesla, 20.0, 240.0, 0.05, (1.0, 1.0, 1.0), (0.0, 0.0))


def test_flair_nulls_fluid_and_a_long_repetition_gives_the_proton_density():
    assert signal(scan("flair"), 2569, 329, 1.0) == pytest.approx(0, abs=1e-12)
    assert signal(scan("flair", 3.0), 4000, 329, 1.0) == pytest.approx(0, abs=1e-12)
    assert signal(scan("pd"), 1e-3, 1e9, 0.7) == pytest.approx(0.7)
    assert signal(scan("t2"), 1e-3, 95.0, 1.0) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_sequences_order_the_tissues_as_readers_know_them(tesla):
    t1, t2, flair = (signals(scan(sequence, tesla)) for sequence in ("t1", "t2", "flair"))
    assert t1["fat"] > t1["white"] > t1["grey"] > t1["fluid"]
    assert t2["fluid"] > t2["grey"] > t2["white"]
    assert flair["lesion"] > flair["grey"] > flair["white"] > flair["fluid"]
    assert t1["enhanced"] > 1.3 * t1["tumour"]
    assert set(TISSUES) < set(t1)


def test_the_background_has_the_rayleigh_mean_of_rician_noise():
    quiet = scan("t1")
    seen = receive(np.random.default_rng(0), np.zeros((256, 256)), quiet, 1.0, 1.0)
    assert seen.mean() / np.sqrt((seen**2).mean()) == pytest.approx(np.sqrt(np.pi) / 2, rel=0.01)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (48, 80), (160, 160)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size, pathology="tumour", severity=0.7)
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and set(np.unique(image.labels)) == {0, *STRUCTURES.values()}
    assert 0 <= image.voxels.min() < 0.1 and 0.4 < image.voxels.max() <= 1


@pytest.mark.parametrize("pathology", ["normal", *DISEASES])
def test_another_size_shows_the_same_patient(pathology):
    small = render(2, pathology=pathology, severity=0.8)
    large = render(2, (128, 128), pathology=pathology, severity=0.8)
    shrunk = large.voxels[0].reshape(64, 2, 64, 2).mean((1, 3))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.03
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.03) if isinstance(value, float) else value)


def test_t1_shows_white_matter_brighter_than_grey_and_fluid_dark_and_t2_the_other_way():
    for seed in range(4):
        middle = {}
        for sequence in ("t1", "t2"):
            image = render(seed, (128, 128), sequence=sequence, pathology="normal")
            middle[sequence] = [
                np.median(image.voxels[0][image.labels == STRUCTURES[name]])
                for name in ("white_matter", "grey_matter", "fluid")
            ]
        assert middle["t1"][0] > middle["t1"][1] > middle["t1"][2]
        assert middle["t2"][0] < middle["t2"][1] < middle["t2"][2]


def test_another_sequence_or_contrast_shows_the_same_anatomy():
    images = [render(5, sequence=sequence, pathology="tumour") for sequence in ("t1", "t2", "pd", "flair")]
    for image in images[1:]:
        assert np.array_equal(image.labels, images[0].labels)
        assert not np.array_equal(image.voxels, images[0].voxels)
    plain, bright = (
        render(5, (128, 128), sequence="t1", pathology="tumour", severity=0.5, contrast_agent=agent)
        for agent in ("none", "gadolinium")
    )
    lesion = plain.labels == STRUCTURES["lesion"]
    assert bright.voxels[0][lesion].mean() > 1.05 * plain.voxels[0][lesion].mean()


@pytest.mark.parametrize("pathology", DISEASES)
def test_severity_enlarges_a_lesion_and_its_columns_agree_with_its_label(pathology):
    for seed in range(5):
        mild, worse = (render(seed, (96, 96), pathology=pathology, severity=level) for level in (0.2, 1.0))
        rows, columns = np.nonzero(worse.labels == STRUCTURES["lesion"])
        assert 0 < (mild.labels == STRUCTURES["lesion"]).sum() < len(rows)
        assert worse.conditions["lesion_x"] == pytest.approx((columns.mean() + 0.5) / 96)
        assert worse.conditions["lesion_size"] == pytest.approx(2 * np.sqrt(len(rows) / np.pi) / 96)
        untouched = (worse.labels == 0) & (mild.labels == 0)
        assert np.median(np.abs(mild.voxels[0] - worse.voxels[0])[untouched]) == 0


def test_a_normal_patient_has_no_lesion_and_an_old_one_more_fluid():
    for seed in range(3):
        young, old = (render(seed, pathology="normal", age_years=age) for age in (20.0, 90.0))
        assert young.conditions["lesion_size"] == "n/a" and young.conditions["severity"] == 0
        assert (old.labels == STRUCTURES["fluid"]).sum() > (young.labels == STRUCTURES["fluid"]).sum()
