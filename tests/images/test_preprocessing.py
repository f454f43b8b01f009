import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from skimage.transform import resize_local_mean

from medsynth.errors import InputError
from medsynth.images.geometry import Geometry, centred_affine, find_geometry
from medsynth.images.image import Image, spacing_of
from medsynth.images.intensity import Intensity, find_intensity, match_channels
from medsynth.images.modalities import MODALITIES

SIDES = st.integers(8, 60)
FITS = st.sampled_from(["crop", "pad"])


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_each_stored_pixel_is_the_mean_of_the_area_it_covers():
    # 3 → 2: each stored pixel covers one whole source pixel and half of the middle one
    row = find_geometry((3, 3), (2, 2), "crop").resample(np.array([[[0, 3, 6]] * 3]), outside=0)
    assert np.allclose(row, [[[1, 5]] * 2])


def test_agrees_with_scikit_image():
    source = noise(1, 37, 53)
    geometry = Geometry((37, 53), (0.0, 0.0), (37.0, 53.0), (11, 17))
    assert np.allclose(geometry.resample(source, 0)[0], resize_local_mean(source[0], (11, 17)), atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_whole_ratios_keep_the_mean(dims, channels):
    source = noise(channels, *[24] * dims)
    stored = find_geometry((24,) * dims, (8,) * dims, "crop").resample(source, 0)
    blocks = source[:, :3, :3] if dims == 2 else source[:, :3, :3, :3]
    assert stored.shape == (channels, *[8] * dims) and stored.dtype == np.float32
    assert np.allclose(stored.reshape(channels, -1)[:, 0], blocks.reshape(channels, -1).mean(1), atol=1e-6)
    assert np.allclose(stored.mean(), source.mean(), atol=1e-6)


def test_enlarging_is_linear_between_source_pixels():
    ramp = np.tile(np.arange(8.0), (8, 1))[None]
    stored = find_geometry((8, 8), (16, 16), "crop").resample(ramp, 0)[0, 5]
    assert np.allclose(stored[1:-1], np.arange(0.25, 7, 0.5))


def test_the_same_size_is_the_same_image():
    source = noise(1, 20, 30)
    assert (find_geometry((20, 30), (20, 30), "pad").resample(source, -1) == source).all()


def test_crop_keeps_the_centre_and_pad_keeps_everything():
    source = np.zeros((1, 16, 32))
    source[:, :, 8:24] = 1
    assert (find_geometry((16, 32), (8, 8), "crop").resample(source, -5) == 1).all()
    padded = find_geometry((16, 32), (8, 8), "pad").resample(source, -5)[0]
    assert (padded[:2] == -5).all() and (padded[-2:] == -5).all()
    assert (padded[2:6] == [0, 0, 1, 1, 1, 1, 0, 0]).all()


def test_a_half_covered_pixel_is_half_outside():
    # 10 rows padded to 12, in stored pixels of 4: the first lies 1 / 4 beyond the edge
    padded = Geometry((10, 12), (-1.0, 0.0), (12.0, 12.0), (3, 3)).resample(np.ones((1, 10, 12)), -1)
    assert np.allclose(padded[0, :, 0], [0.5, 1, 0.5])


def test_aspect_is_kept_in_mm():
    geometry = find_geometry((100, 100), (50, 50), "crop", (1.0, 2.0))
    assert geometry.extent == (100, 50) and geometry.start == (0, 25)


def test_labels_take_the_largest_share_and_background_lies_beyond():
    labels = np.zeros((9, 12), np.uint8)
    labels[:, :5], labels[:, 5:8] = 7, 200
    stored = find_geometry((9, 12), (3, 4), "pad").resample_labels(labels)
    assert stored.tolist() == [[7, 7, 200, 0]] * 3
    assert find_geometry((9, 3), (9, 9), "pad").resample_labels(np.full((9, 3), 4, np.uint8))[0].tolist() == [
        *[0] * 3,
        *[4] * 3,
        *[0] * 3,
    ]


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), FITS, st.floats(0, 1))
def test_geometry_goes_there_and_back(source, size, fit, fraction):
    geometry = find_geometry(source, size, fit)
    assert Geometry.from_cells(geometry.to_cells(), size) == geometry
    for axis in (-1, -2):
        assert geometry.inverse(geometry.forward(fraction, axis), axis) == pytest.approx(fraction, abs=1e-9)
    assert geometry.inverse_length(geometry.forward_length(fraction)) == pytest.approx(fraction)


@given(st.tuples(SIDES, SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES), FITS)
def test_a_constant_volume_stays_constant(source, size, fit):
    geometry = find_geometry(source, size, fit)
    assert np.allclose(geometry.resample(np.full((1, *source), 3.0), outside=3.0), 3.0, atol=1e-4)
    if fit == "crop":
        assert min(geometry.start) >= -1e-9
    else:
        assert max(geometry.start) <= 1e-9


@given(st.tuples(SIDES, SIDES), FITS, st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_a_lesion_and_its_cell_move_together(source, fit, x, y):
    rows, columns = (np.arange(n) + 0.5 for n in source)
    blob = np.exp(-(((rows[:, None] - y * source[0]) ** 2 + (columns - x * source[1]) ** 2) / 2))
    geometry = find_geometry(source, (64, 64), fit)
    moved = [geometry.forward(y, -2), geometry.forward(x, -1)]
    assume(all(0.1 < place < 0.9 for place in moved))
    stored = geometry.resample(blob[None], 0)[0]
    peak = np.array(np.unravel_index(stored.argmax(), stored.shape)) + 0.5
    assert np.abs(peak / 64 - moved).max() < 1 / min(geometry.extent) + 1 / 64  # a source and a stored pixel


@given(st.tuples(SIDES, SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES), FITS)
def test_a_stored_voxel_keeps_its_place_in_mm(source, size, fit):
    """The middle of the stored box is where the geometry says that it is in the source, whatever the source's axes."""
    affine = np.array([[0, -0.5, 2, 7], [0.1, 3, 0.2, -8], [-1.5, 0, 0.3, 9], [0, 0, 0, 1]])
    geometry = find_geometry(source, size, fit)
    stored = geometry.affine(affine)
    for fraction in (0.0, 0.25, 1.0):  # of the stored image along each axis; index -0.5 is its edge
        here = [fraction * m - 0.5 for m in size]
        there = [geometry.inverse(fraction, axis) * n - 0.5 for axis, n in enumerate(source)]
        np.testing.assert_allclose(stored @ [*here, 1], affine @ [*there, 1], atol=1e-6)
    steps = np.array(geometry.extent) / size
    np.testing.assert_allclose(spacing_of(stored, 3), spacing_of(affine, 3) * steps)


def test_an_image_of_two_axes_keeps_the_direction_across_its_slice():
    affine = np.array([[0, -0.7, 0, 5], [-0.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    stored = find_geometry((20, 40), (10, 20), "pad").affine(affine)
    # Every stored pixel covers two source pixels a side: the first lies half a source pixel further in.
    expected = [[0, -1.4, 0, 5 - 0.35], [-1, 0, 0, 6 - 0.25], [0, 0, 3, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(stored, expected)


def test_centred_axes_are_those_of_the_patient():
    volume = centred_affine((3.0, 2.0, 1.0), (5, 4, 3))
    np.testing.assert_allclose(volume @ [2, 1.5, 1, 1], [0, 0, 0, 1])
    np.testing.assert_allclose(volume[:3, :3], [[0, 0, 1], [0, 2, 0], [3, 0, 0]])
    image = centred_affine((2.0, 1.0), (4, 3))
    np.testing.assert_allclose(image @ [1.5, 1, 0, 1], [0, 0, 0, 1])
    np.testing.assert_allclose(image[:3, :3], [[0, -1, 0], [-2, 0, 0], [0, 0, 1]])


def test_intensity_and_its_inverse():
    intensity = Intensity(-1000.0, 1000.0)
    scaled = intensity.forward(np.array([-3000.0, -1000, 0, 500, 1000, 9000], np.float32))
    assert scaled.tolist() == [-1, -1, 0, 0.5, 1, 1]
    assert intensity.inverse(scaled).tolist() == [-1000, -1000, 0, 500, 1000, 1000]


def test_each_rule_finds_its_range():
    voxels = np.arange(1001.0).reshape(1, 7, 143)
    assert find_intensity(Image(voxels, display=(0, 4095)), MODALITIES["chest_xray"]) == Intensity(0, 4095)
    assert find_intensity(Image(voxels), MODALITIES["ct"]) == Intensity(-1000, 1000)
    assert find_intensity(Image(voxels), MODALITIES["mri"]) == Intensity(5, 997.505)


def test_the_size_of_the_dark_surround_does_not_move_the_range_of_what_is_imaged():
    body = np.random.default_rng(0).uniform(200, 800, 2000)
    ranges = [
        find_intensity(Image(np.concatenate([body, np.zeros(dark)]).reshape(1, 50, -1)), MODALITIES["mri"])
        for dark in (2000, 48_000)
    ]
    assert ranges[0].high == pytest.approx(ranges[1].high, abs=2) and ranges[0].low == ranges[1].low == 0


def test_a_window_takes_the_place_of_the_modality_s_own():
    voxels = np.linspace(-2000, 2000, 64).reshape(1, 8, 8)
    assert find_intensity(Image(voxels), MODALITIES["ct"], window=(0.0, 80.0)) == Intensity(0, 80)


@pytest.mark.parametrize("size", [(4, 4), (12, 8), (30, 40)])
def test_a_mirrored_box_shows_the_same_the_other_way_round(size):
    source = np.random.default_rng(0).normal(size=(2, 13, 20))
    geometry = find_geometry((13, 20), size, "pad")
    mirrored = geometry.mirrored()
    np.testing.assert_allclose(mirrored.resample(source, -1), geometry.resample(source, -1)[..., ::-1], atol=1e-6)
    assert mirrored.mirrored() == geometry
    assert mirrored.forward(0.3, 1) == pytest.approx(1 - geometry.forward(0.3, 1))
    assert mirrored.inverse(mirrored.forward(0.3, 1), 1) == pytest.approx(0.3)
    assert mirrored.forward_length(0.2) == geometry.forward_length(0.2) > 0
    affine = np.diag([2.0, 3.0, 1.0, 1.0])
    first, last = (geometry.affine(affine) @ [1, column, 0, 1] for column in (0, size[1] - 1))
    np.testing.assert_allclose(mirrored.affine(affine) @ [1, size[1] - 1, 0, 1], first)
    np.testing.assert_allclose(mirrored.affine(affine) @ [1, 0, 0, 1], last)


def test_a_box_of_the_source_is_what_is_stored():
    source = np.zeros((1, 40, 60))
    source[0, 10:30, 5:25] = 1
    geometry = find_geometry((40, 60), (10, 10), "pad", box=((10, 30), (5, 25)))
    assert (geometry.resample(source, 0) == 1).all()
    wide = find_geometry((40, 60), (10, 10), "pad", box=((10, 20), (5, 25))).resample(source, 0)[0]
    assert (wide[:7] >= 0).all() and wide[0].max() == 0 and (wide[3:] == 1).all()


def test_no_range_is_refused():
    with pytest.raises(InputError, match="no display range"):
        find_intensity(Image(np.zeros((1, 4, 4))), MODALITIES["chest_xray"])
    with pytest.raises(InputError, match="from 3 to 3"):
        find_intensity(Image(np.full((1, 4, 4), 3.0)), MODALITIES["mri"])


def test_grey_stored_as_colour_is_grey():
    grey = np.arange(16).reshape(1, 4, 4)
    assert (match_channels(Image(np.repeat(grey, 3, 0)), 1) == grey).all()
    with pytest.raises(InputError, match="3 colour channels, the modality has 1"):
        match_channels(Image(np.concatenate([grey, grey, grey + 1])), 1)
    with pytest.raises(InputError, match="1 colour channels, the modality has 3"):
        match_channels(Image(grey), 3)
