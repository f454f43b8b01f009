"""The sheet of an insertion: each image before and after its lesion was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medsynth.images.drawing import FAINT, GAP, MARGIN, REAL, SYNTHETIC, TILE, font, marked_png, new_sheet, row_of

COLUMNS = 8
MOST = 32  # images on the sheet
CAPTION = 22  # pixels below a row of tiles
DRAWN = "LESION DRAWN"


def sheet(
    path: Path,
    title: str,
    before: tuple[np.ndarray, Sequence[str]],
    after: tuple[np.ndarray, Sequence[str]],
    source: str,
    about: str,
) -> None:
    """The first images in reading order, each above itself with its lesion.

    Args:
        before, after: uint16 (n, C, *spatial), and what stands below each.
        source: real or simulated; about: what the file's header says of it.
    """
    count = min(len(after[0]), MOST)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    shown = ((DRAWN.lower(), SYNTHETIC), (source, REAL))
    page, draw = new_sheet(columns * (TILE + GAP), 2 * rows * (TILE + CAPTION) + rows * GAP, title, shown)
    y = 3 * MARGIN
    for start in range(0, count, columns):
        part = slice(start, min(start + columns, count))
        for (images, captions), colour, mark in ((before, REAL, source.upper()), (after, SYNTHETIC, DRAWN)):
            row_of(page, y, images[part], colour, mark)
            for place, caption in enumerate(captions[part]):
                draw.text((MARGIN + place * (TILE + GAP), y + TILE + 3), caption, FAINT, font(13))
            y += TILE + CAPTION
        y += GAP
    marked_png(page, path, about)
