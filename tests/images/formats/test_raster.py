import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tifffile

from medsynth.errors import InputError
from medsynth.images.formats.files import decode, read

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def encode(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png(array):
    return encode(PIL.Image.fromarray(array))


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def test_png_grey_and_colour():
    grey, colour = decode(png(GREY), "a.png"), decode(png(COLOUR), "a.PNG")
    assert (grey.voxels == GREY[None]).all() and grey.display == (0, 255) and grey.spacing_mm is None
    assert (colour.voxels == COLOUR.transpose(2, 0, 1)).all()


def test_png_of_16_bits():
    deep = GREY.astype(np.uint16) * 257 + 1
    image = decode(png(deep), "a.png")
    assert (image.voxels == deep[None]).all() and image.display == (0, 65535)


def test_png_colour_of_16_bits_keeps_them():
    import imagecodecs

    deep = COLOUR.astype(np.uint16) * 257 + 1
    assert (decode(imagecodecs.png_encode(deep), "a.png").voxels == deep.transpose(2, 0, 1)).all()


def test_jpeg_is_within_its_quantisation_of_the_original():
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    image = decode(encode(PIL.Image.fromarray(smooth), "JPEG", quality=95), "a.jpg")
    assert np.abs(image.voxels[0].astype(int) - smooth).max() <= 8


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("rest", [b"", b"\0\0"])  # what follows the end marker chooses the decoder
def test_jpeg_has_the_pixels_that_pillow_decodes(mode, options, rest):
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)).convert(mode)
    content = encode(picture, "JPEG", **options) + rest
    expected = np.atleast_3d(np.asarray(PIL.Image.open(io.BytesIO(content)))).transpose(2, 0, 1)
    assert (decode(content, "a.jpg").voxels == expected).all()


def test_jpeg_follows_its_exif_orientation():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    picture = PIL.Image.fromarray(np.repeat(np.repeat(GREY, 8, 0), 8, 1))
    turned = decode(encode(picture, "JPEG", exif=exif), "a.jpg").voxels[0]
    plain = decode(encode(picture, "JPEG"), "a.jpg").voxels[0]
    assert (turned == np.rot90(plain, -1)).all()


def test_palette_becomes_its_colours():
    picture = PIL.Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    assert decode(encode(picture), "a.png").voxels[:, 0].tolist() == [[10, 40], [20, 50], [30, 60]]


def test_opaque_alpha_is_dropped_and_a_transparent_pixel_refused():
    alpha = np.full((6, 8, 1), 255, np.uint8)
    assert decode(png(np.concatenate([COLOUR, alpha], -1)), "a.png").voxels.shape == (3, 6, 8)
    alpha[2, 3] = 0
    with pytest.raises(InputError, match="transparent"):
        decode(png(np.concatenate([COLOUR, alpha], -1)), "a.png")


def test_cmyk_is_refused():
    with pytest.raises(InputError, match="CMYK, expected grayscale or RGB"):
        decode(encode(PIL.Image.new("CMYK", (8, 8)), "JPEG"), "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_truncated_file_is_one_line(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    whole = encode(PIL.Image.fromarray(noise), kind)
    with pytest.raises(InputError) as caught:
        decode(whole[: int(share * len(whole))], f"a.{kind.lower()}")
    assert "\n" not in str(caught.value) and "object at" not in str(caught.value)


def test_text_named_jpeg():
    with pytest.raises(InputError, match="not a JPEG or PNG"):
        decode(b"hello", "a.jpg")


def huge_png(side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 12_000, 40_000])
@pytest.mark.filterwarnings("error")
def test_decompression_bomb_is_refused_by_its_header(side):
    with pytest.raises(InputError, match=r"67,108,864"):
        decode(huge_png(side), "a.png")


def test_tiff_grey_colour_float_and_bits():
    deep = GREY.astype(np.uint16) * 16
    image = decode(tiff(deep, compression="lzw"), "a.tif")
    assert (image.voxels == deep[None]).all() and image.display == (0, 65535)
    assert (decode(tiff(COLOUR), "a.tiff").voxels == COLOUR.transpose(2, 0, 1)).all()
    planar = COLOUR.transpose(2, 0, 1)
    assert (decode(tiff(planar, planarconfig="separate", photometric="rgb"), "a.tif").voxels == planar).all()
    assert decode(tiff(GREY / np.float32(7)), "a.tif").display is None


def test_tiff_white_is_zero_is_inverted():
    image = decode(tiff(GREY, photometric="miniswhite"), "a.tif")
    assert (image.voxels[0] == 255 - GREY.astype(int)).all()


def test_tiff_refusals():
    with pytest.raises(InputError, match="2 pages"):
        decode(tiff(np.stack([GREY, GREY]), photometric="minisblack"), "a.tif")
    with pytest.raises(InputError, match="1 pixels are not finite"):
        decode(tiff(np.array([[0, np.nan], [1, 2]], np.float32)), "a.tif")
    with pytest.raises(InputError, match="PALETTE"):
        decode(tiff(GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16)), "a.tif")


def test_tiff_bomb_is_refused_by_its_header():
    sparse = tiff(np.zeros((16, 16), np.uint8))
    for tag in (256, 257):  # width and height
        entry = struct.pack("<HHII", tag, 4, 1, 16)
        assert entry in sparse
        sparse = sparse.replace(entry, struct.pack("<HHII", tag, 4, 1, 40_000))
    with pytest.raises(InputError, match="40,000 x 40,000"):
        decode(sparse, "a.tif")


def test_read_names_the_path(tmp_path):
    with pytest.raises(InputError, match=r"missing.png: cannot be read"):
        read(tmp_path / "missing.png")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(InputError, match=r"note.txt: unknown file type '.txt'.*\.jpg"):
        read(tmp_path / "note.txt")


@pytest.mark.parametrize(("suffix", "name"), [(".bmp", "BMP"), (".webp", "WEBP"), (".ppm", "PPM")])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_other_formats_of_pictures_are_read(suffix, name, mode):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3)[: 3 if mode == "RGB" else 2], dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, name, **({"lossless": True} if name == "WEBP" else {}))
    image = decode(file.getvalue(), f"x{'.pgm' if (name, mode) == ('PPM', 'L') else suffix}")
    voxels = image.voxels if mode == "RGB" or len(image.voxels) == 1 else image.voxels[:1]
    assert np.array_equal(voxels, np.moveaxis(pixels, -1, 0) if mode == "RGB" else pixels[None])
    assert image.display == (0, 255) and image.bits == 8


def test_a_pgm_of_sixteen_bits_keeps_them():
    pixels = np.array([[0, 300], [4095, 65535]], np.uint16)
    image = decode(b"P5 2 2 65535\n" + pixels.astype(">u2").tobytes(), "x.pgm")
    assert np.array_equal(image.voxels[0], pixels) and image.bits == 16


def test_an_animation_and_another_format_under_the_suffix_are_refused():
    file = io.BytesIO()
    first, second = (PIL.Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 200))
    first.save(file, "WEBP", save_all=True, append_images=[second])
    with pytest.raises(InputError, match="2 frames, expected 1"):
        decode(file.getvalue(), "x.webp")
    with pytest.raises(InputError, match="not a BMP image"):
        decode(file.getvalue(), "x.bmp")
