"""Figures: contact sheets, training curves, nearest neighbours, adherence. Each function writes one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from medsynth.artifacts.shards import Images

TILE = 128  # pixels a side that each image is shown in
COLUMNS = 10
GAP = 6
MARGIN = 20
PAPER, INK, FAINT = "#ffffff", "#1c1c1c", "#6b6b6b"
REAL, SYNTHETIC = "#31688e", "#c8553d"
MARK = "SYNTHETIC"


def to_tile(image: np.ndarray) -> Image.Image:
    """Stored uint16 (C, *spatial) to an RGB tile of TILE x TILE, its sides in proportion.

    Of a volume in RAS+, the middle axial slice as radiologists look at it: from the feet, the front above.
    """
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2, ::-1, ::-1]
    pixels = (image >> 8).astype(np.uint8)
    shown = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).convert("RGB")
    scale = TILE / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    tile = Image.new("RGB", (TILE, TILE), "black")
    tile.paste(shown.resize(size, Image.Resampling.LANCZOS), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def contact_sheet(
    path: Path,
    title: str,
    classes: Sequence[str],
    real: tuple[Images, np.ndarray],
    synthetic: tuple[Images, np.ndarray],
    columns: int = COLUMNS,
) -> None:
    """For each class a row of real images above a row of synthetic ones, the first of each: nothing is picked.

    Args:
        real, synthetic: uint16 (n, C, *spatial), and the class (n,) of each; a class may have none.
    """
    rows = [[np.flatnonzero(labels == name) for _, labels in (real, synthetic)] for name in classes]
    columns = max([1, *(min(columns, len(found)) for pair in rows for found in pair)])
    sheet, draw = _sheet(columns * (TILE + GAP), len(classes) * (2 * (TILE + GAP) + 34), title)
    y = 3 * MARGIN
    for name, (of_real, of_synthetic) in zip(classes, rows, strict=True):
        draw.text((MARGIN, y), name.replace("_", " "), INK, _font(17))
        counts = f"{len(of_real)} real (test), {len(of_synthetic)} synthetic"
        draw.text((sheet.width - MARGIN, y + 4), counts, FAINT, _font(13), anchor="ra")
        y += 26
        _row(sheet, y, real[0][of_real[:columns]], REAL, "")
        _row(sheet, y + TILE + GAP, synthetic[0][of_synthetic[:columns]], SYNTHETIC, MARK)
        y += 2 * (TILE + GAP)
        y += 8
    sheet.save(path)


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
    sheet, draw = _sheet(max(len(order), 4) * (TILE + GAP), 2 * (TILE + GAP) + 30, title)
    _row(sheet, 3 * MARGIN, synthetic[order], SYNTHETIC, MARK)
    _row(sheet, 3 * MARGIN + TILE + GAP, training[order], REAL, "")
    for place, row in enumerate(order):
        x = MARGIN + place * (TILE + GAP) + TILE // 2
        colour = SYNTHETIC if similarity[row] > limit else INK
        draw.text((x, 3 * MARGIN + 2 * (TILE + GAP)), f"{similarity[row]:.3f}", colour, _font(15), anchor="ma")
    sheet.save(path)


def _sheet(width: int, height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A page with its title and the key to its colours."""
    sheet = Image.new("RGB", (max(width - GAP, 420) + 2 * MARGIN, height + 4 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), title, INK, _font(22))
    x = sheet.width - MARGIN
    for word, colour in ((MARK.lower(), SYNTHETIC), ("real", REAL)):
        draw.text((x, MARGIN), word, colour, _font(15), anchor="ra")
        x -= round(draw.textlength(word, _font(15))) + 6
        draw.rectangle((x - 12, MARGIN + 3, x, MARGIN + 15), fill=colour)
        x -= 28
    return sheet, draw


def _row(sheet: Image.Image, y: int, images: np.ndarray, colour: str, mark: str) -> None:
    draw = ImageDraw.Draw(sheet)
    font = _font(10)
    for place, image in enumerate(images):
        x = MARGIN + place * (TILE + GAP)
        sheet.paste(to_tile(image), (x, y))
        draw.rectangle((x - 1, y - 1, x + TILE, y + TILE), outline=colour, width=2)
        if mark:
            width = round(draw.textlength(mark, font)) + 8
            draw.rectangle((x + 1, y + TILE - 16, x + width, y + TILE - 2), fill=colour)
            draw.text((x + 5, y + TILE - 15), mark, PAPER, font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def training_curves(path: Path, history: pd.DataFrame) -> None:
    """Loss, validation loss and learning rate over the images seen.

    Args:
        history: images_seen, loss, val_loss (empty where not measured), learning_rate.
    """
    figure, (above, below) = _subplots(2, 1, (7.5, 5.2), sharex=True, height_ratios=(3, 1))
    validated = history.dropna(subset=["val_loss"])
    above.plot(history["images_seen"], history["loss"], color=FAINT, linewidth=1, alpha=0.8, label="training")
    marker = "o" if len(validated) <= 40 else None
    above.plot(
        validated["images_seen"],
        validated["val_loss"],
        color=SYNTHETIC,
        marker=marker,
        markersize=3,
        label="validation",
    )
    above.set_ylabel("loss")
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
) -> None:
    """Asked against read, real beside synthetic: shares of the label's classes, then each number as a scatter.

    Args:
        readings: for "real" and "synthetic", columns asked_<name> and predicted_<name> for the label and each number,
            as text; cells that are no number are left out.
        numbers: the names of number columns (places of a lesion among them).
    """
    panels = [label, *numbers]
    figure, axes = _subplots(2, len(panels), (3.4 * len(panels), 6.6), squeeze=False)
    for row, (side, table) in zip(axes, readings.items(), strict=True):
        colour = SYNTHETIC if side == "synthetic" else REAL
        _confusion(row[0], table[f"asked_{label}"], table[f"predicted_{label}"], classes, colour)
        row[0].set_title(f"{side}: {label.replace('_', ' ')}", color=colour)
        for axis, name in zip(row[1:], numbers, strict=True):
            asked, read = (
                pd.to_numeric(table[f"{prefix}_{name}"], errors="coerce") for prefix in ("asked", "predicted")
            )
            axis.scatter(asked, read, s=8, color=colour, alpha=0.5, linewidths=0)
            given = asked.dropna()
            if len(given):
                ends = [given.min(), given.max()]
                axis.plot(ends, ends, color=INK, linewidth=0.8)
            axis.set(title=f"{side}: {name.replace('_', ' ')}", xlabel="asked", ylabel="read")
            axis.title.set_color(colour)
    figure.savefig(path)


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


def _subplots(rows: int, columns: int, size: tuple[float, float], **options):
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
