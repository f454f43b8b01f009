"""Known answers of the compressed breast, and what must hold of every mammogram that is drawn."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medsynth import registry
from medsynth.errors import InputError
from medsynth.phantoms import compressed_breast as cb
from medsynth.phantoms.phantom import PhantomImage

PHANTOM = registry.PHANTOMS["mammography"].load()
STRUCTURES = PHANTOM.structures
LESIONS = ("mass", "calcification")


def render(seed: int, size: tuple[int, ...] = (64, 64), **overrides: str | float) -> PhantomImage:
    return PHANTOM.render(seed, size, **overrides)


def lesion_of(image: PhantomImage) -> np.ndarray:
    return image.labels == STRUCTURES["lesion"]


def grid(breast: cb.Breast, n: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Places in cm that cover the breast: y (n, 1), x (1, n)."""
    y = ((np.arange(n) + 0.5) / n * 1.08 * breast.height_cm)[:, None]
    return y, y.T


# --- the compressed breast --------------------------------------------------------------------------------------


def test_the_free_edge_is_a_half_circle_and_the_middle_as_thick_as_the_plates_allow():
    length = cb.chord(np.array([-0.1, 0.0, 0.5, 2.0, 9.0]), 4.0)
    np.testing.assert_allclose(length, [0, 0, 2 * np.sqrt(4 - 1.5**2), 4, 4], atol=1e-9)


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_every_ray_is_made_up_of_its_tissues(view):
    breast = cb.draw_breast(np.random.default_rng(1), view, 60)
    y, x = grid(breast)
    paths = cb.image_breast(np.random.default_rng(2), breast, "c", y, x)
    whole = paths.fat + paths.gland + paths.muscle + paths.skin
    np.testing.assert_allclose(whole, cb.chord(breast.depth(y, x), breast.thickness_cm), atol=1e-9)
    assert min(part.min() for part in (paths.fat, paths.gland, paths.muscle, paths.skin)) >= 0
    assert (paths.muscle > 0.5).any() == (view == "MLO")


def test_the_nipple_is_the_breasts_farthest_point():
    for seed in range(6):
        breast = cb.draw_breast(np.random.default_rng(seed), "CC", 60)
        y, x = grid(breast)
        rows, columns = np.nonzero(breast.depth(y, x) > 0)
        tip = rows[columns == columns.max()].mean()
        assert y[int(tip), 0] == pytest.approx(breast.nipple[0], abs=0.3)
        assert breast.reach_cm < x[0, columns.max()] < breast.reach_cm + 0.6


def test_the_parenchymas_power_spectrum_falls_with_the_cube_of_frequency():
    slopes = []
    for seed in range(8):
        breast = cb.draw_breast(np.random.default_rng(seed), "CC", 50)
        y, x = grid(breast)
        depth = cb.image_breast(np.random.default_rng(seed + 50), breast, "d", y, x).optical_depth()
        row = int(np.argmin(np.abs(y[:, 0] - breast.nipple[0])))
        patch = depth[row - 32 : row + 32, 4:68]
        window = np.hanning(64)[:, None] * np.hanning(64)
        power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
        frequency = 64 * np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
        at = np.arange(4, 24)
        radial = [power[(frequency >= f - 0.5) & (frequency < f + 0.5)].mean() for f in at]
        slopes.append(np.polyfit(np.log(at), np.log(radial), 1)[0])
    assert -3.4 < np.mean(slopes) < -2.6


@pytest.mark.parametrize("density", cb.DENSITIES)
def test_a_density_covers_its_share_of_the_breast(density):
    breast = cb.draw_breast(np.random.default_rng(3), "CC", 60)
    y, x = grid(breast)
    paths = cb.image_breast(np.random.default_rng(4), breast, density, y, x)
    inside = breast.depth(y, x) > breast.skin_cm
    assert (paths.dense[inside] > 0.5).mean() == pytest.approx(cb.DENSE_SHARE[density], abs=0.005)


def test_both_views_show_the_same_breast():
    one, other = (cb.draw_breast(np.random.default_rng(5), view, 60) for view in ("CC", "MLO"))
    same = ("reach_cm", "thickness_cm", "fullness", "skin_cm", "subcutaneous_cm", "muscle")
    assert all(getattr(one, name) == getattr(other, name) for name in same)
    assert {f.name for f in dataclasses.fields(one)} > set(same)


# --- one patient ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (80, 48), (48, 80), (160, 160), (300, 300)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size, pathology="mass")
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and image.labels.dtype == np.uint8
    assert image.voxels.min() == 0 and 0.6 < image.voxels.max() <= 1
    assert lesion_of(image).any()


@pytest.mark.parametrize("pathology", ["normal", *LESIONS])
def test_another_size_shows_the_same_patient(pathology):
    small, large = render(2, pathology=pathology), render(2, (256, 256), pathology=pathology)
    shrunk = large.voxels[0].reshape(64, 4, 64, 4).mean((1, 3))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.02
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.02) if isinstance(value, float) else value)


def test_air_is_black_and_gland_brighter_than_fat():
    for seed in range(6):
        image = render(seed, pathology="normal", density="c")
        air, fat, gland = (image.voxels[0][image.labels == number] for number in range(3))
        assert air.mean() < 0.01 and air.size > 400
        assert air.mean() < fat.mean() < gland.mean() - 0.1


def test_the_right_breast_is_the_left_one_mirrored():
    left, right = (render(4, pathology="mass", side=side) for side in ("left", "right"))
    assert np.array_equal(left.voxels[..., ::-1], right.voxels)
    assert np.array_equal(left.labels[:, ::-1], right.labels)
    assert left.conditions["lesion_x"] == pytest.approx(1 - right.conditions["lesion_x"])
    assert left.voxels[0, :, 0].mean() > 0.2 > left.voxels[0, :, -1].mean()  # the chest wall lies on the left


def test_the_pectoral_muscle_shows_at_the_upper_end_of_oblique_views_alone():
    for seed in range(6):
        oblique, axial = (render(seed, pathology="normal", view=view, side="left") for view in ("MLO", "CC"))
        assert not (axial.labels == STRUCTURES["pectoral"]).any()
        muscle = oblique.labels == STRUCTURES["pectoral"]
        assert muscle[0, 0] and not muscle[-8:].any()
        widths = muscle[:48].sum(1).reshape(6, 8).sum(1)
        assert np.all(np.diff(widths[: np.argmin(widths) + 1]) < 0)  # narrower downwards


# --- conditions -------------------------------------------------------------------------------------------------


def test_classes_come_equally_often_and_numbers_fill_their_ranges():
    drawn = [render(seed, (16, 16)).conditions for seed in range(240)]
    for field in ("pathology", "density", "view", "side"):
        values = PHANTOM.conditions[field]["values"]
        expected = len(drawn) / len(values)
        # chi-squared, p = 0.005 for 3 d.f.
        assert sum((sum(row[field] == v for row in drawn) - expected) ** 2 / expected for v in values) < 12.8
    ages = [row["age_years"] for row in drawn]
    assert 35 <= min(ages) < 38 and 82 < max(ages) <= 85
    severities = [row["severity"] for row in drawn if row["pathology"] != "normal"]
    assert 0.15 <= min(severities) < 0.2 and 0.95 < max(severities) <= 1


def test_a_denser_breast_is_brighter_and_the_rest_of_the_patient_stays():
    for seed in range(4):
        images = [render(seed, pathology="mass", density=density) for density in "abcd"]
        inside = images[0].labels > 0
        greys = [image.voxels[0][inside].mean() for image in images]
        assert np.all(np.diff(greys) > 0.01)
        shares = [(image.labels == STRUCTURES["gland"]).mean() for image in images]
        assert np.all(np.diff(shares) > 0)
        for other in images[1:]:
            assert np.array_equal(lesion_of(images[0]), lesion_of(other))
            assert np.array_equal(inside, other.labels > 0)


def test_age_moves_the_gland_towards_the_nipple():
    def centre(age: float) -> float:
        places = []
        for seed in range(10):
            image = render(seed, pathology="normal", age_years=age, view="CC", density="b", side="left")
            places.append(np.nonzero(image.labels == STRUCTURES["gland"])[1].mean())
        return float(np.mean(places))

    assert centre(85) > centre(36) + 0.5


def test_a_normal_image_has_no_lesion():
    image = render(3, pathology="normal", severity=0.9)
    assert image.conditions["severity"] == 0.0
    assert [image.conditions[f"lesion_{end}"] for end in ("x", "y", "size")] == ["n/a"] * 3
    assert not lesion_of(image).any()


@pytest.mark.parametrize("pathology", LESIONS)
def test_the_lesion_measured_is_the_lesion_of_the_label_map_and_lies_in_the_breast(pathology):
    sizes = []
    for seed in range(12):
        image, healthy = (render(seed, pathology=name) for name in (pathology, "normal"))
        rows, columns = np.nonzero(lesion_of(image))
        assert image.conditions["lesion_x"] == pytest.approx((columns + 0.5).mean() / 64)
        assert image.conditions["lesion_y"] == pytest.approx((rows + 0.5).mean() / 64)
        assert image.conditions["lesion_size"] == pytest.approx(np.sqrt(4 * len(rows) / np.pi) / 64)
        tissue = np.isin(healthy.labels, (STRUCTURES["fat"], STRUCTURES["gland"]))
        assert binary_dilation(tissue, iterations=1)[rows, columns].all()
        sizes.append(image.conditions["lesion_size"])
    assert min(sizes) > 0.04 and max(sizes) < 0.25


@pytest.mark.parametrize("pathology", LESIONS)
def test_severity_changes_the_lesion_alone_and_more_of_it_is_brighter(pathology):
    for seed in range(4):
        healthy = render(seed, (128, 128), pathology="normal")
        steps = [render(seed, (128, 128), pathology=pathology, severity=s) for s in (0.15, 0.5, 1.0)]
        worst = binary_dilation(lesion_of(steps[-1]), iterations=10)
        change = [np.abs(step.voxels[0] - healthy.voxels[0]) for step in steps]
        assert change[-1][worst].sum() > 0.85 * change[-1].sum()
        assert change[0].sum() < change[1].sum() < change[2].sum()
        always = np.logical_and.reduce([lesion_of(step) for step in steps])
        assert np.all(np.diff([step.voxels[0][always].mean() for step in (healthy, *steps)]) > 0)


@pytest.mark.parametrize(("pathology", "least"), [("mass", 0.04), ("calcification", 0.01)])
def test_the_mildest_lesion_still_shows(pathology, least):
    for seed in range(12):
        image, healthy = (render(seed, pathology=p, severity=0.15, density="b") for p in (pathology, "normal"))
        assert (image.voxels - healthy.voxels)[0][lesion_of(image)].mean() > least


def test_a_mass_grows_spicules_with_severity():
    """Beyond its outline a round mass adds nothing; a spiculated one does, unevenly round it."""

    def beyond(severity: float) -> float:
        added = []
        for seed in range(8):
            image, healthy = (
                render(seed, (256, 256), pathology=name, severity=severity, density="a") for name in ("mass", "normal")
            )
            lesion = lesion_of(image)
            ring = binary_dilation(lesion, iterations=9) & ~binary_dilation(lesion, iterations=4)
            added.append((image.voxels - healthy.voxels)[0][ring].std())
        return float(np.mean(added))

    assert beyond(1.0) > 4 * beyond(0.15)


def test_grains_of_calcium_are_few_and_brighter_than_their_surroundings():
    for seed in range(4):
        image, healthy = (render(seed, (256, 256), pathology=p, severity=1.0) for p in ("calcification", "normal"))
        added = (image.voxels - healthy.voxels)[0][lesion_of(image)]
        assert added.max() > 0.08
        assert (added > 0.5 * added.max()).mean() < 0.35


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"density": "e"}, "density = 'e', expected one of .*'d'"),
        ({"view": "LM"}, "view = 'LM', expected one of .*MLO"),
        ({"age_years": 12.0}, "age_years = 12.0, expected a number from 35 to 85"),
        ({"pathology": "cyst"}, "pathology = 'cyst', expected one of .*mass"),
        ({"lesion_x": 0.5}, "lesion_x = 0.5, expected one of the fields .*density"),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_line(overrides, message):
    with pytest.raises(InputError, match=message) as refusal:
        render(0, **overrides)
    assert "\n" not in str(refusal.value)
