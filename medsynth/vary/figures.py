"""What a strip is shown as: a sheet of all frames, and an animation of them. Both say that they are synthetic."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medsynth.images.drawing import (
    FAINT,
    GAP,
    GENERATED,
    INK,
    MARGIN,
    MARK,
    PAPER,
    SYNTHETIC,
    TILE,
    font,
    marked_png,
    new_sheet,
    row_of,
    to_tile,
)

COLUMNS = 10
CAPTION = 38  # pixels below a row of tiles
SIDE = 384  # pixels of a frame of the animation
SECONDS = 4  # that an animation takes, once there and back


def sheet(
    path: Path, title: str, images: np.ndarray, captions: Sequence[tuple[str, str]], notes: Sequence[str], about: str
) -> None:
    """Frames in reading order, each above what was asked and what was read.

    Args:
        images: uint16 (n, C, *spatial); captions: (n) asked and read.
        notes: lines below all frames, wrapped; about: disclaimer, for the file's header.
    """
    columns = min(COLUMNS, len(images))
    width = max(columns * (TILE + GAP) - GAP, 420)
    lines = [line for note in notes for line in textwrap.wrap(note, width // 7)]
    rows = -(-len(images) // columns)
    page, draw = new_sheet(columns * (TILE + GAP), rows * (TILE + CAPTION) + 18 * len(lines), title, GENERATED)
    y = 3 * MARGIN
    for start in range(0, len(images), columns):
        shown = images[start : start + columns]
        row_of(page, y, shown, SYNTHETIC, MARK)
        for place, (asked, read) in enumerate(captions[start : start + columns]):
            x = MARGIN + place * (TILE + GAP)
            draw.text((x, y + TILE + 3), asked, INK, font(13))
            draw.text((x, y + TILE + 18), read, FAINT, font(13))
        y += TILE + CAPTION
    for line in lines:
        draw.text((MARGIN, y + 4), line, FAINT, font(13))
        y += 18
    marked_png(page, path, about)


def animation(path: Path, images: np.ndarray, captions: Sequence[tuple[str, str]], about: str) -> None:
    """An endless GIF that goes through the frames and back.

    Args:
        images: uint16 (n, C, *spatial), n at least 2; captions: (n) asked and read.
        about: disclaimer, for the file's comment.
    """
    pages = [_frame(image, *caption) for image, caption in zip(images, captions, strict=True)]
    there_and_back = [*pages, *pages[-2:0:-1]]
    first, *others = there_and_back
    milliseconds = max(80, round(1000 * SECONDS / len(there_and_back) / 10) * 10)
    first.save(path, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0, comment=about.encode())


def _frame(image: np.ndarray, asked: str, read: str) -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE + 52), PAPER)
    page.paste(to_tile(image, SIDE), (0, 0))
    draw = ImageDraw.Draw(page)
    draw.text((10, SIDE + 6), asked, INK, font(16))
    draw.text((10, SIDE + 28), read, FAINT, font(16))
    width = round(draw.textlength(MARK, font(14))) + 16
    draw.rectangle((SIDE - width - 8, SIDE + 14, SIDE - 8, SIDE + 38), fill=SYNTHETIC)
    draw.text((SIDE - width, SIDE + 18), MARK, PAPER, font(14))
    return page
