"""What figures are drawn with: tiles of images on a sheet, and axes for plots."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

TILE = 128  # pixels a side that each image is shown in
GAP = 6
MARGIN = 20
PLANES = ("axial", "coronal", "sagittal")  # by the axis of a volume (z, y, x) across which each lies
ISOTROPIC = (1.0, 1.0, 1.0)
PAPER, INK, FAINT = "#ffffff", "#1c1c1c", "#6b6b6b"
REAL, SYNTHETIC = "#31688e", "#c8553d"
MARK = "SYNTHETIC"
STRUCTURE_COLOURS = ("#9aa5b1", "#e0a13c", "#3f9c8f", "#d08fb4", "#8868b0", "#d9cf5b", "#6fae4e", "#8a5a3b")
GENERATED = ((MARK.lower(), SYNTHETIC),)
BESIDE_REAL = (*GENERATED, ("real", REAL))


def structure_colours(structures: Collection[str]) -> list[str]:
    """A colour for each, unlike those of the marks; after eight they come again."""
    return [STRUCTURE_COLOURS[place % len(STRUCTURE_COLOURS)] for place in range(len(structures))]


def disclaimer(simulated: bool) -> str:
    """What a figure of generated images alone says of itself; simulated: no patient is among the training images."""
    source = "simulated" if simulated else "real"
    return f"Synthetic, not for diagnosis: made by a generative model trained on {source} images."


def marked_png(sheet: Image.Image, path: Path, about: str) -> None:
    """Save as PNG, with what it is as a text chunk."""
    text = PngInfo()
    text.add_text("Disclaimer", about)
    sheet.save(path, "PNG", pnginfo=text)


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Stored uint16 (C, height, width) as RGB."""
    shown = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(shown[0] if len(shown) == 1 else np.moveaxis(shown, 0, -1)).convert("RGB")


def view(volume: np.ndarray, axis: int, spacing_mm: Sequence[float], projected: bool = False) -> Image.Image:
    """One plane of a stored volume uint16 (C, z, y, x) in RAS+ as radiologists look at it.

    Axial from the feet, the front above; coronal from the front, the head above; sagittal from the left, the front on
    the left.

    Args:
        axis: across which it lies, an index of PLANES.
        spacing_mm: of z, y and x; a pixel is as long as the shortest of them.
        projected: show the maximum along that axis (maximum-intensity projection) in place of the middle plane.
    """
    across = 1 + axis
    flat = volume.max(across) if projected else np.take(volume, volume.shape[across] // 2, across)
    picture = as_picture(flat[:, ::-1, ::-1])
    high, wide = (mm / min(spacing_mm) for place, mm in enumerate(spacing_mm) if place != axis)
    size = (round(picture.width * wide), round(picture.height * high))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BILINEAR)


def fitted(shown: Image.Image, side: int) -> Image.Image:
    """A picture in the middle of a black square of side x side pixels, its sides in proportion."""
    scale = side / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    tile = Image.new("RGB", (side, side), "black")
    tile.paste(shown.resize(size, Image.Resampling.LANCZOS), ((side - size[0]) // 2, (side - size[1]) // 2))
    return tile


def to_tile(image: np.ndarray, side: int = TILE) -> Image.Image:
    """Stored uint16 (C, *spatial) to an RGB tile of side x side pixels, its sides in proportion.

    Of a volume, the middle axial slice.
    """
    return fitted(view(image, 0, ISOTROPIC) if image.ndim == 4 else as_picture(image), side)


def new_sheet(
    width: int, height: int, title: str, shown: Sequence[tuple[str, str]] = BESIDE_REAL
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A page with its title and the key to its colours; shown: what there is on it, each a word and its colour."""
    sheet = Image.new("RGB", (max(width - GAP, 420) + 2 * MARGIN, height + 4 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), title, INK, font(22))
    x = sheet.width - MARGIN
    for word, colour in shown:
        draw.text((x, MARGIN), word, colour, font(15), anchor="ra")
        x -= round(draw.textlength(word, font(15))) + 6
        draw.rectangle((x - 12, MARGIN + 3, x, MARGIN + 15), fill=colour)
        x -= 28
    return sheet, draw


def row_of(sheet: Image.Image, y: int, images: np.ndarray, colour: str, mark: str) -> None:
    """Put stored images (n, C, *spatial) side by side as `row_of_tiles` does."""
    row_of_tiles(sheet, y, map(to_tile, images), colour, mark)


def row_of_tiles(
    sheet: Image.Image, y: int, tiles: Iterable[Image.Image], colour: str, mark: str, first: int = 0
) -> None:
    """Put tiles side by side at the height `y`, framed, each with `mark` in its corner unless that is empty.

    Args:
        first: the column of the first.
    """
    draw = ImageDraw.Draw(sheet)
    small = font(10)
    for place, tile in enumerate(tiles, first):
        x = MARGIN + place * (TILE + GAP)
        sheet.paste(tile, (x, y))
        draw.rectangle((x - 1, y - 1, x + TILE, y + TILE), outline=colour, width=2)
        if mark:
            width = round(draw.textlength(mark, small)) + 8
            draw.rectangle((x + 1, y + TILE - 16, x + width, y + TILE - 2), fill=colour)
            draw.text((x + 5, y + TILE - 15), mark, PAPER, small)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def subplots(rows: int, columns: int, size: tuple[float, float], **options):
    """A figure that needs no display and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if "height_ratios" in options:
        options["gridspec_kw"] = {"height_ratios": options.pop("height_ratios")}
    figure = Figure(figsize=size, layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **options)
    for axis in np.ravel(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes
