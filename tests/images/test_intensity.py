"""What a file's values mean, and what is done where the file does not say."""

import numpy as np
import pytest

from medsynth.errors import InputError
from medsynth.images.image import Image
from medsynth.images.intensity import Intensity, find_intensity, take_channels, within_bits
from medsynth.images.modalities import MODALITIES

CT, XRAY, MRI = (MODALITIES[name] for name in ("ct", "chest_xray", "mri"))


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_without_a_unit_is_no_hounsfield_unit_unless_it_is_said_to_be_windowed(bits):
    image = Image(np.zeros((1, 4, 4), np.uint16), display=(0, 2.0**bits - 1), bits=bits)
    with pytest.raises(
        InputError, match=rf"grey values of {bits} bits have no unit, expected HU; source\.intensity: w"
    ):
        find_intensity(image, CT)
    assert find_intensity(image, CT, windowed=True) == Intensity(0, 2.0**bits - 1)
    assert find_intensity(image, XRAY) == Intensity(0, 2.0**bits - 1)
    assert find_intensity(Image(image.voxels), CT) == Intensity(-1000, 1000)  # of a DICOM, a NIfTI, a TIFF of floats


def test_padding_is_no_part_of_the_percentiles():
    voxels = np.concatenate([np.arange(1001.0), np.full(999, 4095.0)]).reshape(1, 40, 50)
    padding = voxels[0] == 4095
    assert find_intensity(Image(voxels, padding=padding), MRI) == Intensity(5, 997.505)
    assert find_intensity(Image(voxels), MRI).high == 4095
    with pytest.raises(InputError, match="every pixel is padding"):
        find_intensity(Image(voxels, padding=np.ones((40, 50), bool)), CT)


def test_bits_scale_images_of_16_bits_alone_and_hold_their_values():
    image = Image(np.array([[[0, 4095]]], np.uint16), display=(0, 65535), bits=16)
    assert within_bits(image, 12).display == (0, 4095)
    with pytest.raises(InputError, match=r"values up to 4,095, source\.bits_stored: 11 allows 2,047"):
        within_bits(image, 11)
    for other in (Image(image.voxels, display=(0, 255), bits=8), Image(image.voxels, display=(-5, 5))):
        assert within_bits(other, 11) is other


def tinted(grey: np.ndarray, by: int) -> Image:
    """(3, H, W) of 8 bits, red brighter than blue by so much."""
    colour = np.stack([grey + by, grey, grey]).astype(np.uint8)
    return Image(colour, display=(0, 255), bits=8)


GREY = np.arange(100, 200).reshape(10, 10)


def test_the_luma_of_a_faint_tint_is_taken():
    voxels, decoloured = take_channels(tinted(GREY, 38), 1)  # 15 % of 255 are 38.25
    assert decoloured
    np.testing.assert_allclose(voxels, (GREY + 0.299 * 38)[None], rtol=1e-6)
    voxels, decoloured = take_channels(tinted(GREY, 0), 1)
    assert not decoloured and voxels.dtype == np.uint8 and (voxels == GREY).all()


def test_strong_colour_is_refused_unless_luma_is_asked_for():
    with pytest.raises(InputError, match=r"colour in 100\.0% of the pixels, .*; source\.colour: luma takes its bright"):
        take_channels(tinted(GREY, 39), 1)
    voxels, decoloured = take_channels(tinted(GREY, 39), 1, luma=True)
    assert decoloured and voxels[0, 0, 0] == pytest.approx(100 + 0.299 * 39)


@pytest.mark.parametrize(("pixels", "taken"), [(4, True), (5, False)])
def test_a_thousandth_of_the_pixels_may_have_any_colour(pixels, taken):
    image = tinted(np.full((50, 80), 9), 0)
    image.voxels[0].flat[:pixels] = 255
    if taken:
        assert take_channels(image, 1)[1]
    else:
        with pytest.raises(InputError, match="colour in"):
            take_channels(image, 1)


def test_colour_stays_where_the_modality_has_it():
    image = tinted(GREY, 20)
    voxels, decoloured = take_channels(image, 3)
    assert voxels is image.voxels and not decoloured
    with pytest.raises(InputError, match="1 colour channels, the modality has 3"):
        take_channels(Image(GREY[None]), 3)
