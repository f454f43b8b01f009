"""JPEG, PNG, BMP, WebP, PGM and TIFF; of TIFF, the image of a file or one page of several."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageOps
from PIL.PngImagePlugin import PngInfo

from medsynth.errors import InputError
from medsynth.images.formats.format import Format
from medsynth.images.image import MAX_VOXELS, Image, refuse_oversized

if TYPE_CHECKING:
    import tifffile

# These decode into a buffer of the size that the page states, whatever the compressed bytes say.
TIFF_COMPRESSIONS = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "LZMA", "ZSTD")
PIL.Image.MAX_IMAGE_PIXELS = MAX_VOXELS // 2  # Pillow refuses more than twice as many, also where pydicom uses it
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_END = b"\xff\xd9"
PNG_BIT_DEPTH = 24  # the byte's place in the header


def decode_pillow(data: bytes, formats: tuple[str, ...] = ("JPEG", "PNG")) -> Image:
    """Decode an image of 8 or 16 bits by Pillow; a palette becomes RGB, an alpha channel must be opaque.

    Args:
        formats: that it may be of, as Pillow names them.
    Raises:
        InputError: truncated, too large, several frames, transparent, or neither grayscale nor RGB.
    """
    try:
        with PIL.Image.open(io.BytesIO(data), formats=formats) as picture:
            refuse_oversized(picture.size)
            if (frames := getattr(picture, "n_frames", 1)) != 1:
                raise InputError(f"{frames} frames, expected 1")
            pixels = _pixels(picture, data)
    except PIL.UnidentifiedImageError:
        raise InputError(f"not a {' or '.join(formats)} image") from None
    except PIL.Image.DecompressionBombError:
        raise InputError(f"more pixels than the limit of {MAX_VOXELS:,}") from None
    except OSError as error:
        raise InputError(f"cannot be decoded ({error})") from None
    return from_pixels(pixels)


def _pixels(picture: PIL.Image.Image, data: bytes) -> np.ndarray:
    """(H, W) or (H, W, C) of uint8 or uint16."""
    if picture.mode in ("RGB", "RGBA") and data.startswith(PNG_SIGNATURE) and data[PNG_BIT_DEPTH] == 16:
        return imagecodecs.png_decode(data)  # Pillow cuts colour of 16 bits down to 8
    plain = picture.format == "JPEG" and picture.mode in ("L", "RGB") and "exif" not in picture.info
    if plain and data.endswith(JPEG_END):
        # The same pixels without Pillow's copy of them. It takes a truncated file for a whole one, Pillow does not.
        return imagecodecs.jpeg8_decode(data)
    picture.load()
    if "exif" in picture.info:
        PIL.ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode == "1":
        picture = picture.convert("L")
    elif "transparency" in picture.info and picture.mode in ("L", "RGB", "P"):
        picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    if picture.mode == "I" and picture.format == "PPM":  # of 16 bits, larger numbers first
        return np.asarray(picture).astype(np.uint16)
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
        raise InputError(f"colour mode {picture.mode}, expected grayscale or RGB")
    return np.asarray(picture)


def decode_tiff(data: bytes) -> Image:
    """Decode a TIFF of one page, grayscale or RGB, of integers or floats.

    Raises:
        InputError: too large, several pages, or a palette.
    """
    return _decode_tiff(data, None)


def decode_page(data: bytes, number: int) -> Image:
    """Decode one page of a TIFF, counted from 0, as `decode_tiff` does."""
    return _decode_tiff(data, number)


def count_pages(data: bytes) -> int:
    """The pages of a TIFF."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return len(file.pages)


def _decode_tiff(data: bytes, chosen: int | None) -> Image:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = len(file.pages)
        if chosen is None and pages != 1:
            raise InputError(f"{pages} pages, expected 1, or a name that ends in #0 to #{pages - 1}")
        if chosen is not None and chosen >= pages:
            raise InputError(f"page {chosen} of a TIFF of {pages}, counted from 0")
        page = file.pages[chosen or 0].aspage()
        refuse_oversized(page.shape)
        _refuse_oversized_segments(page, data)
        kind = tifffile.PHOTOMETRIC(page.photometric).name
        if kind not in ("MINISBLACK", "MINISWHITE", "RGB"):
            raise InputError(f"photometric interpretation {kind}, expected MINISBLACK, MINISWHITE or RGB")
        pixels = page.asarray()
        bits = page.bitspersample
        planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    if pixels.ndim == 3 and planar:
        pixels = pixels.transpose(1, 2, 0)
    image = from_pixels(pixels, bits)
    if kind == "MINISWHITE":
        if image.display is None:
            raise InputError("MINISWHITE of floats states no white to invert from")
        mirrored = int(sum(image.display)) - image.voxels.astype(np.int64)
        return Image(mirrored, display=image.display, bits=image.bits)
    return image


def _refuse_oversized_segments(page: tifffile.TiffPage, data: bytes) -> None:
    """Check how large each strip or tile of a TIFF says that it is; one can state more than the page does."""
    import tifffile

    if page.tile is not None:
        refuse_oversized(page.tile)
    kind = tifffile.COMPRESSION(page.compression)
    if kind == tifffile.COMPRESSION.JPEG:
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            with PIL.Image.open(io.BytesIO(data[start : start + length]), formats=("JPEG",)) as segment:
                refuse_oversized(segment.size)
    elif kind.name not in TIFF_COMPRESSIONS:
        raise InputError(f"compression {kind.name}, expected one of JPEG, {', '.join(TIFF_COMPRESSIONS)}")


def from_pixels(pixels: np.ndarray, bits: int | None = None) -> Image:
    """An image from (H, W) or (H, W, C), its display range from its bits; an opaque alpha channel is dropped.

    Raises:
        InputError: a number of channels other than 1 to 4, or a transparent pixel.
    """
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8)
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if not 1 <= len(channels) <= 4:
        raise InputError(f"{len(channels)} channels, expected grayscale or RGB")
    integer = pixels.dtype.kind in "ui"
    if len(channels) in (2, 4):
        if not (channels[-1] == (np.iinfo(pixels.dtype).max if integer else 1)).all():
            raise InputError("transparent pixels, expected an opaque image")
        channels = channels[:-1]
    if not integer:
        return Image(channels)
    if pixels.dtype.kind == "i":
        return Image(channels, display=(float(np.iinfo(pixels.dtype).min), float(np.iinfo(pixels.dtype).max)))
    bits = bits or 8 * pixels.dtype.itemsize
    return Image(channels, display=(0.0, 2.0**bits - 1), bits=bits)


def encode_png(image: Image, slope: float, intercept: float, about: Mapping[str, str]) -> bytes:
    """Encode grayscale or RGB of (C, H, W), `about` as text chunks; PNG has no place for a slope and an intercept."""
    text = PngInfo()
    for name, value in about.items():
        text.add_text(name, value)
    pixels = image.voxels[0] if len(image.voxels) == 1 else np.moveaxis(image.voxels, 0, -1)
    file = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", pnginfo=text)
    return file.getvalue()


def about_png(data: bytes) -> str:
    """The text chunks."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.load()
            return "\n".join(str(text) for text in picture.info.values())
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"not a PNG ({error})") from None


# The suffix does not tell a JPEG from a PNG: each of the two is read as what it is.
JPEG = Format("JPEG or PNG", decode_pillow)
PNG = Format("JPEG or PNG", decode_pillow, encode_png, about_png)
BMP = Format("BMP", partial(decode_pillow, formats=("BMP",)))
WEBP = Format("WebP", partial(decode_pillow, formats=("WEBP",)))
PNM = Format("PGM or PPM", partial(decode_pillow, formats=("PPM",)))
TIFF = Format("TIFF", decode_tiff, decode_frame=decode_page, count_frames=count_pages)
