"""Figures: contact sheets, training curves, nearest neighbours, adherence. Each function writes one PNG."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.shards import Images
from medsynth.images.drawing import (
    FAINT,
    GAP,
    INK,
    MARGIN,
    MARK,
    PAPER,
    REAL,
    SYNTHETIC,
    TILE,
    font,
    new_sheet,
    row_of,
    subplots,
)

COLUMNS = 10


def contact_sheet(
    path: Path,
    title: str,
    classes: Sequence[str],
    real: tuple[Images, np.ndarray],
    synthetic: tuple[Images, np.ndarray],
    columns: int = COLUMNS,
) -> None:
    """For each class a row of real images above a row of synthetic ones, the first of each: nothing is picked.

    A class without synthetic images has no row of them.

    Args:
        real, synthetic: uint16 (n, C, *spatial), and the class (n,) of each; a class may have none.
    """
    rows = [[np.flatnonzero(labels == name) for _, labels in (real, synthetic)] for name in classes]
    columns = max([1, *(min(columns, len(found)) for pair in rows for found in pair)])
    tiles = sum(1 + bool(len(of_synthetic)) for _, of_synthetic in rows)
    page, draw = new_sheet(columns * (TILE + GAP), tiles * (TILE + GAP) + len(classes) * 34, title)
    y = 3 * MARGIN
    for name, (of_real, of_synthetic) in zip(classes, rows, strict=True):
        draw.text((MARGIN, y), name.replace("_", " "), INK, font(17))
        counts = f"{len(of_real)} real (test), {len(of_synthetic)} synthetic"
        draw.text((page.width - MARGIN, y + 4), counts, FAINT, font(13), anchor="ra")
        y += 26
        row_of(page, y, real[0][of_real[:columns]], REAL, "")
        y += TILE + GAP
        if len(of_synthetic):
            row_of(page, y, synthetic[0][of_synthetic[:columns]], SYNTHETIC, MARK)
            y += TILE + GAP
        y += 8
    page.save(path)


def nearest_neighbours(
    path: Path,
    synthetic: np.ndarray,
    training: np.ndarray,
    similarity: np.ndarray,
    limit: float,
    columns: int = COLUMNS,
) -> None:
    """The synthetic images that are most like a training image, each above that training image.

    Args:
        synthetic, training: uint16 (n, C, *spatial), paired.
        similarity: (n,) of each pair.
        limit: similarities above it are copies; their number is red.
    """
    order = np.argsort(similarity)[::-1][:columns]
    title = f"Nearest training images (limit {limit:.3f})"
    page, draw = new_sheet(max(len(order), 4) * (TILE + GAP), 2 * (TILE + GAP) + 30, title)
    row_of(page, 3 * MARGIN, synthetic[order], SYNTHETIC, MARK)
    row_of(page, 3 * MARGIN + TILE + GAP, training[order], REAL, "")
    for place, row in enumerate(order):
        x = MARGIN + place * (TILE + GAP) + TILE // 2
        colour = SYNTHETIC if similarity[row] > limit else INK
        draw.text((x, 3 * MARGIN + 2 * (TILE + GAP)), f"{similarity[row]:.3f}", colour, font(15), anchor="ma")
    page.save(path)


def training_curves(path: Path, history: pd.DataFrame, overfitted_from: int | None = None) -> None:
    """Loss, validation loss and learning rate over the images seen.

    Args:
        history: images_seen, loss, val_loss (empty where not measured), learning_rate.
        overfitted_from: images seen, shaded from there on; None for no overfitting.
    """
    figure, (above, below) = subplots(2, 1, (7.5, 5.2), sharex=True, height_ratios=(3, 1))
    validated = history.dropna(subset=["val_loss"])
    above.plot(history["images_seen"], history["loss"], color=FAINT, linewidth=1, alpha=0.8, label="training loss")
    marker = "o" if len(validated) <= 40 else None
    above.plot(
        validated["images_seen"],
        validated["val_loss"],
        color=SYNTHETIC,
        marker=marker,
        markersize=3,
        label="validation score",
    )
    if overfitted_from is not None:
        above.axvspan(overfitted_from, history["images_seen"].max(), color=FAINT, alpha=0.15, lw=0, label="overfitted")
    above.set_ylabel("loss, score")
    above.legend(frameon=False)
    below.plot(history["images_seen"], history["learning_rate"], color=REAL)
    below.set(xlabel="images seen", ylabel="learning rate")
    figure.savefig(path)


def adherence(
    path: Path,
    label: str,
    classes: Sequence[str],
    readings: Mapping[str, pd.DataFrame],
    numbers: Sequence[str],
    unread: Collection[str] = (),
) -> None:
    """Asked against read, real beside synthetic: shares of the label's classes, then each number as a scatter.

    Args:
        readings: for "real" and "synthetic", columns asked_<name> and predicted_<name> for the label and each number,
            as text; cells that are no number are left out.
        numbers: the names of number columns (places of a lesion among them).
        unread: the columns that the readers do not read well enough from real images: the titles say so.
    """
    panels = [label, *numbers]
    figure, axes = subplots(2, len(panels), (3.4 * len(panels), 6.6), squeeze=False)
    for row, (side, table) in zip(axes, readings.items(), strict=True):
        colour = SYNTHETIC if side == "synthetic" else REAL
        _confusion(row[0], table[f"asked_{label}"], table[f"predicted_{label}"], classes, colour)
        row[0].set_title(_title(side, label, unread), color=colour)
        for axis, name in zip(row[1:], numbers, strict=True):
            asked, read = (
                pd.to_numeric(table[f"{prefix}_{name}"], errors="coerce") for prefix in ("asked", "predicted")
            )
            axis.scatter(asked, read, s=8, color=colour, alpha=0.5, linewidths=0)
            given = asked.dropna()
            if len(given):
                ends = [given.min(), given.max()]
                axis.plot(ends, ends, color=INK, linewidth=0.8)
            axis.set(title=_title(side, name, unread), xlabel="asked", ylabel="read")
            axis.title.set_color(colour)
    figure.savefig(path)


def _title(side: str, name: str, unread: Collection[str]) -> str:
    return f"{side}: {name.replace('_', ' ')}" + ("\n(reader inadequate)" if name in unread else "")


def _confusion(axis, asked: pd.Series, read: pd.Series, classes: Sequence[str], colour: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shares = pd.crosstab(asked, read, normalize="index").reindex(
        index=list(classes), columns=list(classes), fill_value=0.0
    )
    axis.imshow(shares, vmin=0, vmax=1, cmap=LinearSegmentedColormap.from_list("shade", [PAPER, colour]))
    names = [name.replace("_", "\n") for name in classes]
    axis.set_xticks(range(len(classes)), names, fontsize=7)
    axis.set_yticks(range(len(classes)), names, fontsize=7)
    axis.set(xlabel="read", ylabel="asked")
    for (i, j), share in np.ndenumerate(shares.to_numpy()):
        axis.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=8, color=PAPER if share > 0.6 else INK)
