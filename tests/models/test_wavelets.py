import pytest
import torch

from medsynth.models.wavelets import Codec, Opponents, Pyramid, haar_patch


def codec(kind: str, levels: int, channels: int, dims: int) -> Codec:
    return Codec(kind, levels, channels, dims)


@pytest.mark.parametrize("kind", ["identity", "pixel_unshuffle", "haar"])
@pytest.mark.parametrize(("dims", "channels", "levels"), [(2, 1, 2), (2, 3, 1), (3, 1, 2), (3, 2, 1)])
def test_decode_inverts_encode_and_keeps_the_norm(kind, dims, channels, levels):
    image = torch.randn(2, channels, *[8] * dims)
    chosen = codec(kind, levels, channels, dims)
    bands = chosen.encode(image)
    assert bands.shape == (2, chosen.channels, *[8 // chosen.factor] * dims)
    torch.testing.assert_close(chosen.decode(bands), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(bands.square().sum(), image.square().sum(), rtol=1e-5, atol=0)


def test_haar_of_one_level_is_the_four_sums_and_differences():
    # By hand: pixels a b / c d → (a+b+c+d, a+b-c-d, a-b+c-d, a-b-c+d) / 2, in some order of the details.
    patch = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
    bands = codec("haar", 1, 1, 2).encode(patch).flatten().tolist()
    assert bands[0] == pytest.approx(7.5)
    assert sorted(bands[1:]) == pytest.approx(sorted([-4.5, -2.5, 1.5]))


def test_haar_pyramid_is_orthonormal_and_a_flat_patch_is_its_average_alone():
    for levels, dims in [(1, 2), (2, 2), (3, 2), (2, 3)]:
        matrix = haar_patch(levels, dims)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64))
        flat = matrix @ torch.ones(len(matrix), dtype=torch.float64)
        assert flat[0] == pytest.approx(len(matrix) ** 0.5)
        assert flat[1:].abs().max() < 1e-12


def test_details_of_the_finest_level_see_two_by_two_pixels():
    matrix = haar_patch(2, 2)
    assert (matrix != 0).sum(1).tolist() == [16] * 4 + [4] * 12


def test_channels_do_not_mix():
    image = torch.zeros(1, 3, 8, 8)
    image[:, 1] = torch.randn(8, 8)
    bands = codec("haar", 1, 3, 2).encode(image)
    assert bands[:, :4].abs().max() == 0 and bands[:, 8:].abs().max() == 0 and bands[:, 4:8].abs().max() > 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_opponents_are_inverted_and_keep_the_norm(dims, channels):
    image = torch.randn(2, channels, *[4] * dims)
    colours = Opponents(channels, dims)
    encoded = colours.encode(image)
    torch.testing.assert_close(colours.decode(encoded), image, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoded.square().sum(), image.square().sum())
    assert torch.equal(encoded, image) == (channels != 3)


def test_grey_in_colour_is_brightness_alone():
    grey = torch.randn(2, 1, 8, 8)
    brightness, *colours = Opponents(3, 2).encode(grey.expand(-1, 3, -1, -1)).unbind(1)
    torch.testing.assert_close(brightness, 3**0.5 * grey[:, 0])
    assert max(colour.abs().max() for colour in colours) < 1e-6


def test_a_pyramid_clamps_values_of_the_image_not_of_its_opponents():
    pyramid = Pyramid(Codec("haar", 1, 3, 2), 2, opponents=True)
    image = 2 * torch.rand(2, 3, 8, 8) - 1
    bands, coarse = pyramid.encode(image)[1]
    decoded = pyramid.decode(bands, coarse)
    torch.testing.assert_close(pyramid.to_image(pyramid.clamp(decoded)), image, atol=1e-6, rtol=0)
    assert pyramid.to_image(pyramid.clamp(3 * decoded)).abs().max() <= 1 + 1e-6


@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("opponents", [False, True])
def test_a_pyramid_is_put_together_again_and_its_averages_are_those_of_the_pixels(dims, channels, levels, opponents):
    image = torch.randn(2, channels, *[16] * dims)
    pyramid = Pyramid(Codec("haar", 1, channels, dims), levels, opponents)
    coarse = None
    for (bands, given), factor, count in zip(pyramid.encode(image), pyramid.factors, pyramid.bands, strict=True):
        assert bands.shape == (2, count, *[16 // factor] * dims)
        assert (given is None) == (coarse is None)
        if given is not None:
            torch.testing.assert_close(given, coarse, atol=1e-5, rtol=0)
        coarse = pyramid.decode(bands, coarse)
    torch.testing.assert_close(pyramid.to_image(coarse), image, atol=1e-5, rtol=0)
    if levels > 1:
        pool = {2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}[dims]
        average = pyramid.to_image(pyramid.encode(image)[-1][1])
        torch.testing.assert_close(average, pool(image, 2), atol=1e-5, rtol=0)
