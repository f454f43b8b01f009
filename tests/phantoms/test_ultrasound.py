"""What must hold of every breast ultrasound that is drawn."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medsynth import registry
from medsynth.errors import InputError
from medsynth.phantoms.phantom import PhantomImage
from medsynth.phantoms.ultrasound import Field

PHANTOM = registry.PHANTOMS["ultrasound"].load()
STRUCTURES = PHANTOM.structures
LESIONS = ("benign", "malignant", "cyst")
SHALLOW = {"field": "linear", "depth_cm": 4.0}


def render(seed: int, size: tuple[int, ...] = (64, 64), **overrides: str | float) -> PhantomImage:
    return PHANTOM.render(seed, size, **overrides)


def lesion_of(image: PhantomImage) -> np.ndarray:
    return image.labels == STRUCTURES["lesion"]


# --- the field --------------------------------------------------------------------------------------------------


def test_scan_conversion_puts_each_place_where_its_beam_runs():
    field = Field(height_cm=4.0, width_cm=4.0, radius_cm=5.0, meets=0.9)
    y, x = field.places(256)
    for beams, axis in ((y, 0), (x, 1)):
        pixels = field.convert(beams, (80, 80), 1)
        expected = (np.arange(80) + 0.5) / 80 * 4.0 - (0 if axis == 0 else 2)
        centre = pixels[30:60, 40] if axis == 0 else pixels[50, 20:60]
        np.testing.assert_allclose(centre, expected[30:60] if axis == 0 else expected[20:60], atol=0.02)


def test_beams_of_a_curved_array_part_with_depth():
    field = Field(4.0, 4.0, 5.0, 1.0)
    spread = field.spread(np.array([0.0, 2.5, 4.0]))
    np.testing.assert_allclose(spread / spread[0], [1, 1.5, 1.8])
    assert not np.ptp(Field(4.0, 4.0, np.inf, 1.0).spread(np.array([0.0, 4.0])))


def test_a_curved_field_has_dark_corners_and_a_linear_one_fills_the_image():
    for seed in range(6):
        curved, linear = (render(seed, field=kind, pathology="normal") for kind in ("curved", "linear"))
        assert not curved.voxels[0, 0, [0, -1]].any() and not curved.labels[0, [0, -1]].any()
        assert linear.labels.all()


# --- one patient ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (48, 80), (160, 160), (300, 300)])
def test_shapes_types_and_range_at_any_size(size):
    image = render(1, size, pathology="benign")
    assert image.voxels.shape == (1, *size) and image.voxels.dtype == np.float32
    assert image.labels.shape == size and image.labels.dtype == np.uint8
    assert 0 <= image.voxels.min() < 0.1 and 0.5 < image.voxels.max() <= 1
    assert set(np.unique(image.labels)) <= {0, *STRUCTURES.values()} and lesion_of(image).any()


@pytest.mark.parametrize("pathology", ["normal", *LESIONS])
def test_another_size_shows_the_same_patient(pathology):
    small, large = render(2, pathology=pathology), render(2, (256, 256), pathology=pathology)
    shrunk = large.voxels[0].reshape(64, 4, 64, 4).mean((1, 3))
    assert np.abs(shrunk - small.voxels[0]).mean() < 0.04
    assert np.corrcoef(shrunk.ravel(), small.voxels[0].ravel())[0, 1] > 0.96
    for column, value in small.conditions.items():
        assert large.conditions[column] == (pytest.approx(value, abs=0.02) if isinstance(value, float) else value)


def test_layers_follow_each_other_from_skin_to_muscle():
    for seed in range(6):
        labels = render(seed, pathology="normal", **SHALLOW).labels
        tops = [np.nonzero(labels == STRUCTURES[name])[0].mean() for name in ("skin", "gland")]
        assert (labels[0] == STRUCTURES["skin"]).all() and tops[0] < tops[1]
        muscle = labels == STRUCTURES["muscle"]
        assert not (muscle[:-1] & ~muscle[1:]).any()  # what lies under muscle is muscle


def test_gland_echoes_more_than_fat():
    def level(name: str) -> float:
        greys = [(i.voxels[0], i.labels == STRUCTURES[name]) for i in images]
        return float(np.concatenate([grey[4:28][where[4:28]] for grey, where in greys]).mean())

    images = [render(seed, pathology="normal", age_years=35, **SHALLOW) for seed in range(8)]
    assert level("gland") > level("fat") + 0.05


def test_age_takes_gland_away():
    young, old = (
        np.mean([(render(s, pathology="normal", age_years=age).labels == STRUCTURES["gland"]).mean() for s in range(8)])
        for age in (20, 85)
    )
    assert young > 1.2 * old


def test_a_deeper_field_shows_the_same_tissue_smaller():
    shallow, deep = (render(3, (128, 128), pathology="normal", field="linear", depth_cm=d) for d in (3.0, 6.0))
    top = deep.labels[:64, 32:96].repeat(2, 0).repeat(2, 1)
    assert (top == shallow.labels).mean() > 0.97


# --- conditions -------------------------------------------------------------------------------------------------


def test_classes_and_fields_come_equally_often_and_numbers_fill_their_ranges():
    drawn = [render(seed, (16, 16)).conditions for seed in range(200)]
    for field, limit in (("pathology", 12.8), ("field", 7.9)):  # chi-squared, p = 0.005
        values = PHANTOM.conditions[field]["values"]
        expected = len(drawn) / len(values)
        assert sum((sum(row[field] == v for row in drawn) - expected) ** 2 / expected for v in values) < limit
    for field, margin in (("age_years", 5), ("depth_cm", 0.2)):
        low, high = PHANTOM.conditions[field]["range"]
        values = [row[field] for row in drawn]
        assert low <= min(values) < low + margin and high - margin < max(values) <= high
    severities = [row["severity"] for row in drawn if row["pathology"] != "normal"]
    assert 0.15 <= min(severities) < 0.22 and 0.93 < max(severities) <= 1


def test_a_normal_image_has_no_lesion():
    image = render(3, pathology="normal", severity=0.9)
    assert image.conditions["severity"] == 0.0
    assert [image.conditions[f"lesion_{end}"] for end in ("x", "y", "size")] == ["n/a"] * 3
    assert not lesion_of(image).any()


@pytest.mark.parametrize("pathology", LESIONS)
def test_the_lesion_measured_is_the_lesion_of_the_label_map_and_lies_in_the_field(pathology):
    sizes = []
    for seed in range(12):
        image = render(seed, pathology=pathology)
        rows, columns = np.nonzero(lesion_of(image))
        assert image.conditions["lesion_x"] == pytest.approx((columns + 0.5).mean() / 64)
        assert image.conditions["lesion_y"] == pytest.approx((rows + 0.5).mean() / 64)
        assert image.conditions["lesion_size"] == pytest.approx(np.sqrt(4 * len(rows) / np.pi) / 64)
        assert 0.1 < image.conditions["lesion_x"] < 0.9 and 0.1 < image.conditions["lesion_y"] < 0.8
        sizes.append(image.conditions["lesion_size"])
    assert min(sizes) > 0.05 and max(sizes) < 0.55 and max(sizes) > 1.5 * min(sizes)


@pytest.mark.parametrize("pathology", LESIONS)
def test_severity_changes_only_the_beams_that_meet_the_lesion_and_darkens_it(pathology):
    levels = []
    for seed in range(4):
        healthy = render(seed, pathology="normal", **SHALLOW)
        steps = [render(seed, pathology=pathology, severity=s, **SHALLOW) for s in (0.15, 0.5, 1.0)]
        everywhere = np.logical_or.reduce([lesion_of(step) for step in steps])
        change = np.abs(steps[-1].voxels[0] - healthy.voxels[0])
        beams = binary_dilation(everywhere.any(0), iterations=8)
        assert change[:, beams].sum() > 0.9 * change.sum()
        above = slice(0, max(np.nonzero(everywhere.any(1))[0].min() - 8, 0))
        assert change[above].max(initial=0) < 0.02
        always = np.logical_and.reduce([lesion_of(step) for step in steps])
        levels.append([step.voxels[0][always].mean() for step in steps])
        for name in ("age_years", "field", "depth_cm"):
            assert steps[-1].conditions[name] == healthy.conditions[name]
    assert np.diff(levels).max() < 1e-3  # electronic noise fills the darkest cysts
    assert np.diff(np.mean(levels, 0)).max() < -0.01


def posterior(pathology: str) -> float:
    """Mean change of grey behind a lesion, against the healthy breast."""
    changes = []
    for seed in range(10):
        image, healthy = (render(seed, pathology=p, severity=0.9, **SHALLOW) for p in (pathology, "normal"))
        rows, columns = np.nonzero(lesion_of(image))
        middle = slice(int(np.quantile(columns, 0.3)), int(np.quantile(columns, 0.7)) + 1)
        behind = slice(rows.max() + 3, rows.max() + 14)
        shown = healthy.voxels[0][behind, middle] > 0.1
        changes.append((image.voxels - healthy.voxels)[0][behind, middle][shown].mean() if shown.any() else 0.0)
    return float(np.mean(changes))


def test_sound_is_louder_behind_a_cyst_and_weaker_behind_a_cancer():
    cyst, benign, malignant = (posterior(pathology) for pathology in ("cyst", "benign", "malignant"))
    assert cyst > 0.04 and malignant < -0.04
    assert malignant < benign < cyst


def solidity(image: PhantomImage) -> float:
    """Area over the area of the circle with the same longest diameter."""
    rows, columns = np.nonzero(lesion_of(image))
    points = np.stack([rows, columns])
    reach = np.linalg.norm(points - points.mean(1, keepdims=True), axis=0).max()
    return len(rows) / (np.pi * reach**2)


def test_a_cancers_outline_is_more_irregular_when_more_severe():
    mild, severe = (
        np.mean([solidity(render(s, (128, 128), pathology="malignant", severity=v)) for s in range(16)])
        for v in (0.15, 1.0)
    )
    assert severe < 0.9 * mild


def test_benign_masses_lie_flat_and_cancers_stand_tall():
    def flatness(pathology: str) -> float:
        spreads = [
            np.std(columns) / np.std(rows)
            for rows, columns in (np.nonzero(lesion_of(render(s, pathology=pathology))) for s in range(12))
        ]
        return float(np.mean(spreads))

    assert flatness("benign") > 1.2 > flatness("malignant")


def test_a_cyst_is_emptier_than_a_solid_mass():
    for seed in range(6):
        cyst, solid = (render(seed, pathology=p, severity=0.9, **SHALLOW) for p in ("cyst", "benign"))
        both = lesion_of(cyst) & lesion_of(solid)
        assert cyst.voxels[0][both].mean() < solid.voxels[0][both].mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8, 64), {}), r"size \[8, 64\]"),
        (((64, 64), {"pathology": "tumour"}), "pathology = 'tumour', expected one of .*cyst"),
        (((64, 64), {"field": "phased"}), "field = 'phased', expected one of .*curved"),
        (((64, 64), {"depth_cm": 9.0}), "depth_cm = 9.0, expected a number from 3 to 6"),
        (((64, 64), {"severity": 1.7}), "severity = 1.7, expected a number from 0 to 1"),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_line(arguments, message):
    size, overrides = arguments
    with pytest.raises(InputError, match=message) as refusal:
        render(0, size, **overrides)
    assert "\n" not in str(refusal.value)
