"""Known answers for blood, pigment and the tree of vessels, and what must hold of every fundus that is drawn."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medsynth import registry
from medsynth.errors import InputError
from medsynth.phantoms import retina, retinal_lesions, retinal_vessels
from medsynth.phantoms.phantom import PhantomImage

PHANTOM = registry.PHANTOMS["fundus"].load()
STRUCTURES = PHANTOM.structures
SIZE = (64, 64)
DISEASES = ("diabetic_retinopathy", "glaucoma", "cataract", "amd")
WITH_LESIONS = ("diabetic_retinopathy", "amd")
LESIONS = (STRUCTURES["dark_lesion"], STRUCTURES["bright_lesion"])


def render(seed: int, size: tuple[int, ...] = SIZE, **overrides: str | float) -> PhantomImage:
    return PHANTOM.render(seed, size, **overrides)


def grid(side: float, n: int, x: float = 0.0, y: float = 0.0) -> retina.Grid:
    at = ((np.arange(n) + 0.5) / n - 0.5).astype(np.float32) * np.float32(side)
    return retina.Grid(at + np.float32(x), (at + np.float32(y))[:, None], side / n)


def eye(age_years: float = 40, seed: int = 0) -> retina.Eye:
    return retina.draw_eye(np.random.default_rng(seed), age_years)


# --- light ------------------------------------------------------------------------------------------------------


def test_blood_takes_light_after_beer_and_lambert_down_to_what_it_scatters():
    white = np.ones((3, 1, 1), np.float32)
    thin = retina.through_blood(white, np.full((1, 1), 0.01, np.float32), retina.ARTERIAL)[:, 0, 0]
    floor = retina.SCATTERED
    np.testing.assert_allclose(thin, floor + (1 - floor) * np.exp(-0.01 * retina.ARTERIAL), rtol=1e-6)
    deep = retina.through_blood(white, np.full((1, 1), 50.0, np.float32), retina.ARTERIAL)[:, 0, 0]
    np.testing.assert_allclose(deep, floor, atol=1e-6)


def test_arterial_blood_is_brighter_in_red_and_as_dark_in_green():
    assert retina.ARTERIAL[0] < 0.5 * retina.VENOUS[0]
    assert retina.ARTERIAL[1] == pytest.approx(retina.VENOUS[1], rel=0.1)


def test_pigment_darkens_blue_most_and_blood_spares_red():
    one, none = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    clear, pigmented, bloody = (
        retina.reflectance(*layers)[:, 0, 0]
        for layers in ((none, none, none), (0.3 * one, none, none), (none, one, none))
    )
    np.testing.assert_allclose(np.log10(clear / pigmented), 0.3 * retina.MELANIN, rtol=1e-5)
    red, green, _ = clear / bloody
    assert red < 1.25 and green > 3


# --- vessels ----------------------------------------------------------------------------------------------------


def test_a_straight_vessel_holds_its_volume_of_blood():
    n = 12
    line = retinal_vessels.Branches(
        np.linspace(-2, 2, n)[None] + 0.3j, np.full((1, n), 0.1), np.array([True]), np.array([False])
    )
    arterial, venous, mirror = retinal_vessels.render([line], (-2.99, -2.99), 0.02, (300, 300))
    assert not arterial.any() and not mirror.any()
    assert venous.sum() * 0.02**2 == pytest.approx(np.pi * 0.1**2 * 4, rel=0.02)
    assert venous.max() == pytest.approx(0.2, rel=0.1)  # its diameter


def test_cubes_of_radii_add_up_at_forks():
    """A trunk against the same one before it forked: what it lost by its end is what its daughters carry."""
    trunk, *forks = np.random.default_rng(1).spawn(4)
    whole = retinal_vessels._trunks(trunk, 4.6 - 0.3j, 0.1)
    parents, daughters = retinal_vessels._fork(forks[0], whole, 4.6 - 0.3j, 1, 0.1)
    count, checked = retinal_vessels.DAUGHTERS[0], 0
    for index in np.flatnonzero(whole.radius.min(1) > 0):
        own = slice(index * count, (index + 1) * count)
        at = [int(np.argmin(np.abs(whole.points[index] - start))) for start in daughters.points[own, 0]]
        carried = ((daughters.radius[own, 0] / whole.radius[index, at]) ** 3).sum()
        assert 1 - (parents.radius[index, -1] / whole.radius[index, -1]) ** 3 == pytest.approx(carried, rel=1e-6)
        checked += 1
    assert checked >= 8


def test_arcades_leave_the_disc_and_spare_the_fovea():
    for seed in range(5):
        generations = retinal_vessels.grow(np.random.default_rng(seed), (4.6, -0.3), 0.12, 0.02)
        trunks = generations[0]
        assert np.abs(trunks.points[:, 0] - (4.6 - 0.3j)).max() < 0.8
        for branches in generations:
            assert np.abs(branches.points[branches.radius > 0]).min() >= retinal_vessels.AVASCULAR
        venous, arterial = (trunks.radius[trunks.venous == kind, 0] for kind in (True, False))
        assert 0.55 < arterial.mean() / venous.mean() < 0.9


def test_coarser_pixels_keep_the_larger_vessels_as_they_are():
    fine, coarse = (retinal_vessels.grow(np.random.default_rng(2), (4.6, -0.3), 0.1, pixel) for pixel in (0.02, 0.2))
    assert len(fine) > len(coarse)
    np.testing.assert_array_equal(fine[1].points, coarse[1].points)


# --- one eye ----------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bits_again_and_another_seed_another_eye():
    first, again, other = render(5), render(5), render(6)
    assert np.array_equal(first.voxels, again.voxels) and np.array_equal(first.labels, again.labels)
    assert first.conditions == again.conditions
    assert not np.array_equal(first.voxels, other.voxels)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (48, 80), (160, 160)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size, pathology="amd", severity=0.9)
    assert image.voxels.shape == (3, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and image.labels.dtype == np.uint8
    assert 0 <= image.voxels.min() < 0.1 and 0.5 < image.voxels.max() <= 1
    assert {0, STRUCTURES["retina"], STRUCTURES["disc"]} <= set(np.unique(image.labels))


@pytest.mark.parametrize("pathology", ["normal", *DISEASES])
def test_another_size_shows_the_same_eye(pathology):
    for seed in range(3):
        small, large = (render(seed, size, pathology=pathology) for size in (SIZE, (128, 128)))
        shrunk = large.voxels.reshape(3, 64, 2, 64, 2).mean((2, 4))
        assert np.abs(shrunk - small.voxels).mean() < 0.02
        for column, value in small.conditions.items():
            assert large.conditions[column] == (pytest.approx(value, abs=0.03) if isinstance(value, float) else value)


def test_the_ground_is_red_before_green_before_blue_and_the_surround_is_black():
    for seed in range(8):
        image = render(seed, pathology="normal")
        red, green, blue = image.voxels[:, image.labels == STRUCTURES["retina"]].mean(1)
        assert red > 1.2 * green > 1.2 * blue * 0.9
        assert image.voxels[:, image.labels == 0].mean() < 0.06


def test_the_disc_is_bright_the_cup_brighter_and_venules_are_dark():
    for seed in range(8):
        image = render(seed, (128, 128), pathology="normal", cup_to_disc=0.5)
        green = image.voxels[1]
        disc, cup, venules = (np.median(green[image.labels == STRUCTURES[name]]) for name in ("disc", "cup", "venules"))
        beside = binary_dilation(image.labels == STRUCTURES["venules"], iterations=3)
        ground = np.median(green[beside & (image.labels == STRUCTURES["retina"])])
        assert venules < ground - 0.01 and ground < disc < cup


def test_the_disc_lies_to_the_right_of_the_fovea_in_a_right_eye():
    for seed in range(6):
        right, left = (render(seed, side=side, pathology="normal") for side in ("right", "left"))
        assert np.array_equal((right.labels == STRUCTURES["disc"])[:, ::-1], left.labels == STRUCTURES["disc"])
        for image, sign in ((right, 1), (left, -1)):
            disc, fovea = (
                np.nonzero(np.isin(image.labels, [STRUCTURES[name] for name in names]))[1].mean()
                for names in (("disc", "cup"), ("fovea",))
            )
            assert sign * (disc - fovea) > 10


# --- conditions -------------------------------------------------------------------------------------------------


def test_classes_and_sides_come_equally_often_and_numbers_fill_their_ranges():
    drawn = [render(seed, (16, 16)).conditions for seed in range(300)]
    for field in ("pathology", "side"):
        values = PHANTOM.conditions[field]["values"]
        counts = [sum(row[field] == value for row in drawn) for value in values]
        expected = len(drawn) / len(values)
        assert sum((n - expected) ** 2 / expected for n in counts) < 14.9  # chi-squared, p = 0.005 for 4 d.f.
    severities = [row["severity"] for row in drawn if row["pathology"] != "normal"]
    assert 0.12 <= min(severities) < 0.2 and 0.95 < max(severities) <= 1
    ages = [row["age_years"] for row in drawn]
    assert 20 <= min(ages) < 25 and 85 < max(ages) <= 90
    assert {row["dr_grade"] for row in drawn if row["pathology"] == "diabetic_retinopathy"} == {"1", "2", "3", "4"}
    assert {row["dr_grade"] for row in drawn if row["pathology"] != "diabetic_retinopathy"} == {"0"}
    assert all(0.1 <= row["cup_to_disc"] <= 0.95 for row in drawn)


@pytest.mark.parametrize("pathology", ["normal", "glaucoma", "cataract"])
def test_what_has_no_lesion_shows_none(pathology):
    image = render(3, pathology=pathology)
    assert [image.conditions[f"lesion_{end}"] for end in ("x", "y", "size")] == ["n/a"] * 3
    assert not np.isin(image.labels, LESIONS).any()


@pytest.mark.parametrize(
    ("overrides", "grade", "low", "high"),
    [
        ({"dr_grade": "0"}, "0", 0.0, 0.0),
        ({"dr_grade": "1"}, "1", 0.0, 0.25),
        ({"dr_grade": "4"}, "4", 0.75, 1.0),
        ({"severity": 0.6}, "3", 0.6, 0.6),
        ({"severity": 0.5, "dr_grade": "2"}, "2", 0.5, 0.5),
        ({"severity": 0.0}, "0", 0.0, 0.0),
    ],
)
def test_grade_and_severity_go_together(overrides, grade, low, high):
    for seed in range(4):
        image = render(seed, pathology="diabetic_retinopathy", **overrides)
        assert image.conditions["dr_grade"] == grade
        assert low <= image.conditions["severity"] <= high
        assert np.isin(image.labels, LESIONS).any() == (grade != "0")


def test_a_grade_means_nothing_to_another_disease():
    assert render(0, pathology="amd", dr_grade="3").conditions["dr_grade"] == "0"


@pytest.mark.parametrize("pathology", WITH_LESIONS)
def test_the_lesion_measured_is_of_the_label_map(pathology):
    for seed in range(12):
        image = render(seed, pathology=pathology)
        lesions = np.isin(image.labels, LESIONS)
        x, y, size = (image.conditions[f"lesion_{end}"] for end in ("x", "y", "size"))
        row, column = int(y * 64), int(x * 64)
        assert binary_dilation(lesions, iterations=2)[row, column]
        assert 0 < size <= 2 * np.sqrt(lesions.sum() / np.pi) / 64 + 1e-9


@pytest.mark.parametrize("pathology", WITH_LESIONS)
def test_a_worse_disease_has_more_and_larger_lesions_and_the_same_place(pathology):
    for seed in range(5):
        steps = [render(seed, (96, 96), pathology=pathology, severity=severity) for severity in (0.15, 0.45, 0.7, 1.0)]
        areas = [np.isin(step.labels, LESIONS).sum() for step in steps]
        sizes = [step.conditions["lesion_size"] for step in steps]
        assert np.all(np.diff(areas) > 0) and np.all(np.diff(sizes) > 0)
        assert max(abs(step.conditions["lesion_x"] - steps[-1].conditions["lesion_x"]) for step in steps[1:]) < 0.06


def test_lesions_change_nothing_far_from_them():
    for seed in range(3):
        healthy = render(seed, pathology="normal")
        image = render(seed, pathology="diabetic_retinopathy", severity=0.2)
        far = ~binary_dilation(np.isin(image.labels, LESIONS), iterations=4)
        assert np.abs(image.voxels - healthy.voxels)[:, far].mean() < 2e-3


def test_a_cataract_veils_the_vessels():
    for seed in range(4):
        contrasts = []
        for severity in (0.0, 0.3, 0.6, 1.0):
            image = render(seed, (96, 96), pathology="cataract", severity=severity)
            green = image.voxels[1]
            venules, ground = (green[image.labels == STRUCTURES[name]].mean() for name in ("venules", "retina"))
            contrasts.append(1 - venules / ground)
        assert np.all(np.diff(contrasts) < 0) and contrasts[-1] < 0.3 * contrasts[0]


def vertical_ratio(image: PhantomImage) -> float:
    cup = image.labels == STRUCTURES["cup"]
    disc = cup | (image.labels == STRUCTURES["disc"])
    return cup.any(1).sum() / disc.any(1).sum()


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
def test_the_cup_is_as_large_as_asked(ratio):
    for seed in range(3):
        image = render(seed, (256, 256), pathology="normal", cup_to_disc=ratio)
        assert vertical_ratio(image) == pytest.approx(ratio, abs=0.08)


def test_glaucoma_hollows_the_disc_unless_the_cup_is_set():
    for seed in range(4):
        cups = [
            render(seed, pathology="glaucoma", severity=severity).conditions["cup_to_disc"] for severity in (0, 0.5, 1)
        ]
        assert cups == sorted(cups) and cups[-1] == pytest.approx(0.93)
        assert render(seed, pathology="glaucoma", severity=1.0, cup_to_disc=0.4).conditions["cup_to_disc"] == 0.4


def test_glaucoma_takes_nerve_fibres_most_in_a_wedge():
    loss = retinal_lesions.fibre_loss(np.random.default_rng(0), eye(), grid(12, 96, 2), 0.8)
    assert loss.min() == pytest.approx(0.8 * 0.55) and loss.max() == pytest.approx(0.8)
    assert not np.any(retinal_lesions.fibre_loss(np.random.default_rng(0), eye(), grid(12, 96, 2), 0.0))


def test_age_yellows_the_lens_and_dims_the_sheen_and_changes_nothing_else_that_was_drawn():
    young, old = eye(25), eye(80)
    assert old.lens > young.lens + 0.2 and old.sheen < 0.6 * young.sheen and old.melanin < young.melanin
    assert (young.disc, young.disc_radii, young.tortuosity, young.fovea) == (
        old.disc, old.disc_radii, old.tortuosity, old.fovea,
    )  # fmt: skip


# --- the contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (64, 64, 64), {}), r"size \[64, 64, 64\], expected 2 axes"),
        ((0, SIZE, {"pathology": "tumour"}), "pathology = 'tumour', expected one of .*glaucoma"),
        ((0, SIZE, {"dr_grade": "5"}), "dr_grade = '5', expected one of .*'4'"),
        ((0, SIZE, {"cup_to_disc": 1.5}), "cup_to_disc = 1.5, expected a number from 0.1 to 0.95"),
        ((0, SIZE, {"lesion_x": 0.5}), "lesion_x = 0.5, expected one of the fields"),
        (
            (0, SIZE, {"pathology": "diabetic_retinopathy", "dr_grade": "1", "severity": 0.9}),
            "dr_grade 1 and severity 0.9, which is grade 4",
        ),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_line(arguments, message):
    seed, size, overrides = arguments
    with pytest.raises(InputError, match=message) as refusal:
        PHANTOM.render(seed, size, **overrides)
    assert "\n" not in str(refusal.value)
