"""What figures are drawn with: tiles of images on a sheet, and axes for plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

TILE = 128  # pixels a side that each image is shown in
GAP = 6
MARGIN = 20
PAPER, INK, FAINT = "#ffffff", "#1c1c1c", "#6b6b6b"
REAL, SYNTHETIC = "#31688e", "#c8553d"
MARK = "SYNTHETIC"
GENERATED = ((MARK.lower(), SYNTHETIC),)
BESIDE_REAL = (*GENERATED, ("real", REAL))


def disclaimer(simulated: bool) -> str:
    """What a figure of generated images alone says of itself; simulated: no patient is among the training images."""
    source = "simulated" if simulated else "real"
    return f"Synthetic, not for diagnosis: made by a generative model trained on {source} images."


def marked_png(sheet: Image.Image, path: Path, about: str) -> None:
    """Save as PNG, with what it is as a text chunk."""
    text = PngInfo()
    text.add_text("Disclaimer", about)
    sheet.save(path, "PNG", pnginfo=text)


def to_tile(image: np.ndarray, side: int = TILE) -> Image.Image:
    """Stored uint16 (C, *spatial) to an RGB tile of side x side pixels, its sides in proportion.

    Of a volume in RAS+, the middle axial slice as radiologists look at it: from the feet, the front above.
    """
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2, ::-1, ::-1]
    pixels = (image >> 8).astype(np.uint8)
    shown = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).convert("RGB")
    scale = side / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    tile = Image.new("RGB", (side, side), "black")
    tile.paste(shown.resize(size, Image.Resampling.LANCZOS), ((side - size[0]) // 2, (side - size[1]) // 2))
    return tile


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
    """Put images side by side at the height `y`, framed, each with `mark` in its corner unless that is empty."""
    draw = ImageDraw.Draw(sheet)
    small = font(10)
    for place, image in enumerate(images):
        x = MARGIN + place * (TILE + GAP)
        sheet.paste(to_tile(image), (x, y))
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
