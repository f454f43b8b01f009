"""Figures: what every setting reached, and images of the configured sampler beside those of the chosen one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.images.drawing import (
    FAINT,
    GAP,
    INK,
    MARGIN,
    MARK,
    REAL,
    SYNTHETIC,
    TILE,
    font,
    new_sheet,
    row_of,
    subplots,
)

COLUMNS = 10


def tried(path: Path, table: pd.DataFrame, measures: Sequence[str]) -> None:
    """Each setting's gain with its error, and its measures, in the order in which they were tried.

    Args:
        table: as tried.csv: setting, gain, gain_error, taken, and a column for each measure.
    """
    panels = ["gain", *measures]
    figure, axes = subplots(
        1, len(panels), (3.0 + 2.2 * len(panels), 1.2 + 0.28 * len(table)), sharey=True, squeeze=False
    )
    places = np.arange(len(table))[::-1]
    colours = [SYNTHETIC if taken else REAL for taken in table["taken"] == "true"]
    for axis, name in zip(axes[0], panels, strict=True):
        values = pd.to_numeric(table[name], errors="coerce")
        errors = pd.to_numeric(table["gain_error"], errors="coerce") if name == "gain" else None
        axis.scatter(values, places, color=colours, s=22, zorder=3)
        if errors is not None:
            axis.errorbar(values, places, xerr=errors, fmt="none", ecolor=FAINT, linewidth=1)
            axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_title(name, fontsize=10)
    axes[0][0].set_yticks(places, table["setting"], fontsize=8)
    axes[0][0].set_xlabel("over the best before; red replaced it", fontsize=8)
    figure.savefig(path)


def contact_sheet(path: Path, title: str, rows: Mapping[str, np.ndarray], columns: int = COLUMNS) -> None:
    """Rows of images that were asked for alike, the first of each; the first row is real.

    Args:
        rows: name of the row → uint16 (n, C, *spatial).
    """
    shown = min(columns, *(len(images) for images in rows.values()))
    page, draw = new_sheet(shown * (TILE + GAP), len(rows) * (TILE + GAP + 30), title)
    y = 3 * MARGIN
    for place, (name, images) in enumerate(rows.items()):
        draw.text((MARGIN, y), name, INK, font(15))
        row_of(page, y + 24, images[:shown], SYNTHETIC if place else REAL, MARK if place else "")
        y += TILE + GAP + 30
    page.save(path)
