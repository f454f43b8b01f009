"""Figures of the benchmarks: rows of images, lines and bars. Each function writes one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from PIL import Image, ImageDraw, ImageFont

from medsynth.disk import files

TILE = 96
GAP = 4
COLOURS = ("#c8553d", "#31688e", "#5b8c5a", "#8a6bbe", "#b8860b", "#4a4a4a")


def contact_sheet(path: Path, rows: Mapping[str, np.ndarray], columns: int = 12) -> None:
    """One named row of images each, the first of every set: nothing is picked.

    Args:
        rows: uint8 (n, H, W) or (n, H, W, 3).
    """
    font = ImageFont.load_default(16)
    left = 4 * GAP + round(max(font.getbbox(name)[2] for name in rows))
    sheet = Image.new("RGB", (left + columns * (TILE + GAP), len(rows) * (TILE + GAP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (name, images) in enumerate(rows.items()):
        top = GAP + line * (TILE + GAP)
        draw.text((GAP, top + TILE // 2 - 9), name, "black", font)
        for place, image in enumerate(images[:columns]):
            tile = Image.fromarray(image).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (left + place * (TILE + GAP), top))
    with files.written_whole(path) as part:
        sheet.save(part)


def lines(
    path: Path, table: pd.DataFrame, x: str, y: Sequence[str], by: str, log: Sequence[str] = (), note: str = ""
) -> None:
    """One panel for each column of `y` over `x`, one line for each value of `by`.

    Args:
        log: the columns whose axis is logarithmic, if all their values are above zero.
    """
    figure = Figure(figsize=(5.2 * len(y), 3.8), dpi=130, layout="constrained")
    panels = figure.subplots(1, len(y), squeeze=False)[0]
    for axes, column in zip(panels, y, strict=True):
        for colour, (name, part) in zip(COLOURS * len(table), table.groupby(by, sort=False), strict=False):
            part = part.dropna(subset=[column])
            axes.plot(part[x], part[column], color=colour, marker="o", markersize=4, label=str(name))
        axes.set(xlabel=_spoken(x), ylabel=_spoken(column))
        for key, axis, rescale in ((x, axes.xaxis, axes.set_xscale), (column, axes.yaxis, axes.set_yscale)):
            if key in log and (table[key].dropna() > 0).all():
                rescale("log")
                axis.set_major_formatter(LogFormatter())
                axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        axes.grid(alpha=0.25, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    if note:
        figure.suptitle(note, fontsize=9)
    _save(figure, path)


def bars(path: Path, table: pd.DataFrame, value: str, group: str, by: str, panel: str) -> None:
    """One panel for each value of `panel`: groups of bars, one colour for each value of `by`."""
    names = list(table[panel].unique())
    figure = Figure(figsize=(4.4 * len(names), 3.8), dpi=130, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        part = table[table[panel] == name].pivot_table(value, group, by, sort=False, dropna=False)
        width = 0.8 / max(1, len(part.columns))
        for place, (column, colour) in enumerate(zip(part.columns, COLOURS, strict=False)):
            at = np.arange(len(part)) + (place - (len(part.columns) - 1) / 2) * width
            axes.bar_label(
                axes.bar(at, part[column], width, color=colour, label=str(column)), fmt="{:,.0f}", fontsize=7
            )
        axes.set_xticks(range(len(part)), [str(key) for key in part.index])
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set(title=f"{_spoken(panel)} {name}", xlabel=_spoken(group), ylabel=_spoken(value))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    _save(figure, path)


def _spoken(column: str) -> str:
    return "KID" if column == "kid" else column.replace("_per_s", " per second").replace("_", " ")


def _save(figure: Figure, path: Path) -> None:
    with files.written_whole(path) as part:
        figure.savefig(part)
