"""Known answers for the rays, and what must hold of every chest radiograph that is drawn."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medsynth import registry
from medsynth.errors import InputError
from medsynth.phantoms import projection as pj
from medsynth.phantoms.phantom import PhantomImage
from medsynth.phantoms.rays import View
from medsynth.phantoms.torso import draw_torso

PHANTOM = registry.PHANTOMS["chest_xray"].load()
STRUCTURES = PHANTOM.structures
SIZE = (64, 64)
DISEASES = ("pneumonia", "nodule", "effusion")


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return PHANTOM.render(seed, size, **overrides)


def lesion_of(image: PhantomImage) -> np.ndarray:
    return image.labels == STRUCTURES["lesion"]


def grid(extent: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of a square from -extent to extent: x (n, n), y (n, 1)."""
    at = ((np.arange(n) + 0.5) / n * 2 - 1) * extent
    return np.broadcast_to(at, (n, n)).astype(np.float32), at[:, None].astype(np.float32)


# --- rays -------------------------------------------------------------------------------------------------------


def test_the_chord_through_the_centre_of_a_sphere_is_its_diameter():
    x = np.array([[0.0, 1.5, 2.9, 3.1]], np.float32)
    chord = pj.ellipsoid(x, np.zeros((1, 1), np.float32), (0, 0, 7), (3, 3, 3)).length()
    expected = [6, 2 * np.sqrt(9 - 1.5**2), 2 * np.sqrt(9 - 2.9**2), 0]
    np.testing.assert_allclose(chord[0], expected, rtol=1e-5)


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_the_chords_of_an_ellipsoid_add_up_to_its_volume(tilt):
    x, y = grid(5, 400)
    total = pj.ellipsoid(x, y, (0.3, -0.2, 0), (4, 2, 3), tilt).length().sum(dtype=float) * (10 / 400) ** 2
    assert total == pytest.approx(4 / 3 * np.pi * 4 * 2 * 3, rel=2e-3)


def test_what_remains_of_a_body_leaves_out_two_overlapping_ones():
    def interval(low, high):
        return pj.Chord(np.array([[low]]), np.array([[high]]))

    body = interval(0.0, 10.0)
    assert pj.remaining(body, interval(1.0, 4.0), interval(3.0, 6.0)) == 5
    assert pj.remaining(body, interval(-5.0, 2.0), interval(8.0, 20.0)) == 6
    assert pj.remaining(body, interval(np.inf, -np.inf), interval(2.0, 3.0)) == 9


def test_a_tube_adds_its_volume_times_mu_in_any_direction():
    along = np.linspace(-3, 3, 200)
    for direction in ([1, 0, 0], [0.6, 0.8, 0], [0.5, 0.5, np.sqrt(0.5)]):
        points = (along[:, None] * np.array(direction))[None]
        image = pj.splat([pj.tube(points, 0.5, 0.25, 2.0, 5)], (-4.95, -4.95), (0.1, 0.1), (100, 100))
        length = 6 * 200 / 199  # one step beyond the last point
        assert image.sum() * 0.01 == pytest.approx(2.0 * np.pi * 0.5 * 0.25 * length, rel=1e-3)


def test_transmission_of_a_slab_is_beer_lambert():
    half_value_layer = np.log(2) / pj.MU_SOFT
    assert pj.transmission(np.array(pj.MU_SOFT * half_value_layer)) == pytest.approx(0.5)
    assert pj.transmission(np.array(pj.MU_SOFT * 3 * half_value_layer)) == pytest.approx(0.125)


def test_nothing_scatters_in_air_and_a_uniform_slab_scatters_its_potential():
    assert not pj.scattered(np.zeros((32, 32), np.float32), 0.1, 0.5).any()
    slab = np.full((32, 32), 2.0, np.float32)
    np.testing.assert_allclose(pj.scattered(slab, 0.1, 0.5), 0.5 * 2 * np.exp(-2), rtol=1e-5)


def test_quantum_noise_has_the_variance_of_counted_photons():
    counted = pj.noisy(np.full((400, 400), 0.25, np.float32), 1e4, np.random.default_rng(0))
    assert counted.mean() == pytest.approx(0.25, rel=1e-3)
    assert counted.var() == pytest.approx(0.25 / 1e4, rel=0.02)


def test_the_display_curve_goes_through_its_two_greys():
    greys = pj.display(np.array([-50.0, 1.0, 3.0, 90.0]), 1.0, 3.0, (0.2, 0.8))
    np.testing.assert_allclose(greys, [0, 0.2, 0.8, 1], atol=1e-12)


def test_attenuation_orders_the_tissues_as_the_tables_do():
    assert pj.MU_LUNG < pj.MU_FAT < pj.MU_SOFT < pj.MU_CORTICAL
    # Water at 50 keV: 0.2269 cm^2/g (NIST SRDB 126); soft tissue of density 1.06 is within 1 % of it per gram.
    assert abs(pj.MU_SOFT / 1.06 / 0.2269 - 1) < 0.01


# --- one patient ------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bits_again_and_another_seed_another_patient():
    first, again, other = render(5), render(5), render(6)
    assert np.array_equal(first.voxels, again.voxels)
    assert np.array_equal(first.labels, again.labels)
    assert first.conditions == again.conditions
    assert not np.array_equal(first.voxels, other.voxels)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (48, 80), (160, 160)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size, pathology="nodule")
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and image.labels.dtype == np.uint8
    assert 0 <= image.voxels.min() < 0.1 and 0.7 < image.voxels.max() <= 1
    assert set(np.unique(image.labels)) == {0, *STRUCTURES.values()}


@pytest.mark.parametrize("pathology", ["normal", *DISEASES])
def test_another_size_shows_the_same_patient(pathology):
    small, large = render(2, pathology=pathology), render(2, (128, 128), pathology=pathology)
    shrunk = large.voxels[0].reshape(64, 2, 64, 2).mean((1, 3))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.02
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.02) if isinstance(value, float) else value)


def test_air_is_dark_lungs_darker_than_heart_and_heart_darker_than_white():
    for seed in range(5):
        image = render(seed, pathology="normal")
        lungs, heart = (image.voxels[0][image.labels == STRUCTURES[name]].mean() for name in ("lungs", "heart"))
        assert image.voxels.min() < 0.05 < lungs < heart - 0.2


def test_bones_are_brighter_than_the_tissue_they_replace():
    torso = draw_torso(np.random.default_rng(0), 30, "male")
    shape, side = (128, 128), 1.3 * torso.width
    field = (-side / 2, torso.height / 2 - side / 2, side, side)
    boneless = View(dataclasses.replace(torso, mineral=0.0), field, shape).optical_depth()
    added = View(torso, field, shape).optical_depth() - boneless
    assert added.min() > -1e-4
    assert added.max() > 0.2


# --- conditions -------------------------------------------------------------------------------------------------


def test_classes_and_sexes_come_equally_often_and_numbers_fill_their_ranges():
    drawn = [render(seed, (16, 16)).conditions for seed in range(300)]
    for field in ("pathology", "sex"):
        values = PHANTOM.conditions[field]["values"]
        counts = [sum(row[field] == value for row in drawn) for value in values]
        expected = len(drawn) / len(values)
        assert sum((n - expected) ** 2 / expected for n in counts) < 12.8  # chi-squared, p = 0.005 for 3 d.f.
    severities = [row["severity"] for row in drawn if row["pathology"] != "normal"]
    assert 0.15 <= min(severities) < 0.2 and 0.95 < max(severities) <= 1
    ages = [row["age_years"] for row in drawn]
    assert 0 <= min(ages) < 5 and 95 < max(ages) <= 100


def test_a_normal_image_has_no_lesion():
    image = render(3, pathology="normal", severity=0.9)
    assert image.conditions["severity"] == 0.0
    assert [image.conditions[f"lesion_{end}"] for end in ("x", "y", "size")] == ["n/a"] * 3
    assert not lesion_of(image).any()


@pytest.mark.parametrize("pathology", DISEASES)
def test_the_lesion_measured_is_the_lesion_of_the_label_map_and_lies_in_a_lung(pathology):
    for seed in range(12):
        image, healthy = (render(seed, pathology=name, age_years=30) for name in (pathology, "normal"))
        rows, cols = np.nonzero(lesion_of(image))
        assert image.conditions["lesion_x"] == pytest.approx((cols + 0.5).mean() / 64)
        assert image.conditions["lesion_y"] == pytest.approx((rows + 0.5).mean() / 64)
        assert image.conditions["lesion_size"] == pytest.approx(np.sqrt(4 * len(rows) / np.pi) / 64)
        # Lung also lies before and behind the heart and the great vessels; the vessels have no label of their own.
        chest = np.isin(healthy.labels, (STRUCTURES["lungs"], STRUCTURES["heart"]))
        assert binary_dilation(chest, iterations=5)[rows, cols].all()
        if pathology != "effusion":
            row, col = int(image.conditions["lesion_y"] * 64), int(image.conditions["lesion_x"] * 64)
            assert healthy.labels[row, col] == STRUCTURES["lungs"]


@pytest.mark.parametrize(("pathology", "low", "high"), [("nodule", 0.07, 0.21), ("pneumonia", 0.15, 0.45)])
def test_lesions_have_the_sizes_of_their_kind(pathology, low, high):
    sizes = [render(seed, pathology=pathology).conditions["lesion_size"] for seed in range(20)]
    assert low < min(sizes) and max(sizes) < high
    assert max(sizes) > 1.4 * min(sizes)


def test_lesions_come_on_both_sides():
    for pathology in DISEASES:
        left = [render(seed, pathology=pathology).conditions["lesion_x"] > 0.5 for seed in range(12)]
        assert 0 < sum(left) < len(left)


@pytest.mark.parametrize("pathology", DISEASES)
def test_severity_changes_the_lesion_alone_and_more_of_it_is_brighter(pathology):
    for seed in range(4):
        healthy = render(seed, pathology="normal").voxels[0]
        steps = [render(seed, pathology=pathology, severity=severity) for severity in (0.0, 0.15, 0.5, 1.0)]
        worst = lesion_of(steps[-1])
        change = np.abs(steps[-1].voxels[0] - healthy)
        assert change[binary_dilation(worst, iterations=4)].sum() > 0.9 * change.sum()
        other_side = slice(44, 64) if steps[-1].conditions["lesion_x"] < 0.5 else slice(0, 20)
        assert not change[:, other_side].any()
        before = healthy
        for step in steps:
            assert (step.voxels[0] - before).min() > -2e-3
            before = step.voxels[0]
        greys = [step.voxels[0][worst].mean() for step in steps]
        assert np.all(np.diff(greys) > 0.01)


@pytest.mark.parametrize("pathology", DISEASES)
def test_the_mildest_lesion_still_shows(pathology):
    for seed in range(12):
        image, healthy = render(seed, pathology=pathology, severity=0.15), render(seed, pathology="normal")
        assert (image.voxels - healthy.voxels)[0][lesion_of(image)].mean() > 0.03


def test_more_fluid_stands_higher():
    low, high = (render(4, pathology="effusion", severity=severity).conditions for severity in (0.2, 0.9))
    assert high["lesion_y"] < low["lesion_y"] and high["lesion_size"] > low["lesion_size"]


def cardiothoracic_ratio(seed: int, **overrides: str | float) -> float:
    labels = render(seed, (96, 96), pathology="normal", **overrides).labels
    heart, lungs = (np.nonzero((labels == STRUCTURES[name]).any(0))[0] for name in ("heart", "lungs"))
    return (np.ptp(heart) + 1) / (np.ptp(lungs) + 1)


def test_the_heart_fills_more_of_an_infants_chest():
    """Over a half of the thorax in the newborn (Edwards et al. 1981), under a half in the adult (Danzer 1919)."""
    infant, adult = (np.mean([cardiothoracic_ratio(seed, age_years=age) for seed in range(12)]) for age in (0, 30))
    assert 0.53 < infant < 0.65
    assert 0.40 < adult < 0.50


def test_age_and_sex_change_the_torso_and_nothing_else_that_was_drawn():
    child, man, woman = (
        draw_torso(np.random.default_rng(1), age, sex) for age, sex in ((2, "male"), (40, "male"), (40, "female"))
    )
    assert child.width < 0.65 * man.width and child.mineral < man.mineral
    assert woman.width < man.width and woman.breast > 0 == man.breast
    assert child.tree == man.tree == woman.tree and child.lean == man.lean
    girl, boy = (draw_torso(np.random.default_rng(1), 2, sex) for sex in ("female", "male"))
    assert girl == boy  # the sexes part at puberty


def test_breasts_brighten_the_lower_lungs():
    woman, man = (render(0, pathology="normal", age_years=40, sex=sex).voxels[0] for sex in ("female", "male"))
    lower, upper = slice(34, 44), slice(14, 20)
    assert (woman - man)[lower].mean() > (woman - man)[upper].mean() + 0.02


# --- the contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, SIZE, {}), "seed -1 is negative"),
        ((0, (64, 64, 64), {}), r"size \[64, 64, 64\], expected 2 axes"),
        ((0, (8, 64), {}), r"size \[8, 64\]"),
        ((0, SIZE, {"pathology": "tumour"}), "pathology = 'tumour', expected one of .*effusion"),
        ((0, SIZE, {"severity": 1.5}), "severity = 1.5, expected a number from 0 to 1"),
        ((0, SIZE, {"age_years": float("nan")}), "age_years = nan"),
        ((0, SIZE, {"lesion_x": 0.5}), "lesion_x = 0.5, expected one of the fields"),
        ((0, SIZE, {"lesion": 0.5}), "lesion = 0.5, expected one of the fields"),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_line(arguments, message):
    seed, size, overrides = arguments
    with pytest.raises(InputError, match=message) as refusal:
        PHANTOM.render(seed, size, **overrides)
    assert "\n" not in str(refusal.value)
