"""gallery.html: every sample of a run as a thumbnail, to be filtered and sorted by what was asked, read and judged.

One page without any other file or network. That of a release holds kept samples alone; one that is given training
images shows the nearest one beside each sample, and is not to be handed over.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from medsynth.artifacts.outcomes import outcomes
from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import StoreInfo
from medsynth.config.columns import NOT_APPLICABLE_TEXT, PREDICTED, RESERVED, VERDICT
from medsynth.errors import InputError
from medsynth.images.drawing import ISOTROPIC, PLANES, as_picture, disclaimer, view
from medsynth.pages.template import filled

FILE = "gallery.html"
TEMPLATE = Path(__file__).with_suffix(".html")
SIDE = 128  # pixels of a thumbnail's longer side, at most; of each plane of a volume
MOST_CHARACTERS = 24_000_000  # of whole images in base64; where they are more, the page has thumbnails alone
QUALITY = 85  # of WebP
MOST_CHOICES = 12  # values of a column that are chosen from a list; more numbers, or fractions, are a range
DESCRIPTION_TAG = 270  # ImageDescription, EXIF 2.3 section 4.6.4
ABSENT = ("", NOT_APPLICABLE_TEXT)


@dataclass(frozen=True)
class Nearest:
    """The training images that samples are most like.

    Attributes:
        images: uint16 (n, C, *spatial) of the training split.
        positions: (N,) that of each sample's nearest.
    """

    images: Images
    positions: np.ndarray


def gallery(
    info: StoreInfo,
    table: pd.DataFrame,
    images: Images,
    metrics: pd.DataFrame,
    gates: pd.DataFrame,
    spacing_mm: Sequence[float] | None = None,
    nearest: Nearest | None = None,
) -> str:
    """The page as HTML.

    Args:
        info: of the store, whose label a card shows.
        table: a row for each image that is shown, its index the position in `images`; file_name is its file beside the
            page, where there is such a column.
        images: uint16 (N, C, *spatial) on the store's scale.
        metrics, gates: metrics.csv and gates.csv as text.
        spacing_mm: of a volume's voxels; cubes if left out.
        nearest: the training images to show; None for a page that can be handed over.
    """
    about = disclaimer(info.simulated)
    title = f"{run_of(info, table)}: synthetic images"
    cells = as_text(table)
    sides = {"own": (images, table.index.to_numpy(), about)}
    data: dict[str, Any] = {
        "title": title,
        "label": info.label,
        "about": about,
        "size": list(images.shape[2:]),
        "columns": columns_of(cells),
        "rows": cells.to_numpy().tolist(),
        "gates": [{"name": g.name, "result": g.result, "said": g.said, "why": g.reasons} for g in outcomes(gates)],
        "metrics": {"columns": list(metrics.columns), "rows": metrics.astype(str).to_numpy().tolist()},
        "of_row": None,
    }
    if nearest is not None:
        shown, of_row = np.unique(nearest.positions, return_inverse=True)
        sides["nearest"] = (nearest.images, shown, "Training image, not to be handed over.")
        data["of_row"] = of_row.tolist()

    def encoded(name: str, side: int | None) -> Iterator[str]:
        pixels, places, said = sides[name]
        return (picture(pixels[int(place)], said, side, spacing_mm) for place in places)

    data["thumbnails"] = {name: list(encoded(name, SIDE)) for name in sides}
    data["reduced"] = max(images.shape[2:]) > SIDE
    data["whole"] = _within({name: encoded(name, None) for name in sides}, MOST_CHARACTERS) if data["reduced"] else None
    return filled(TEMPLATE, title, data)


def _within(texts: Mapping[str, Iterator[str]], most: int) -> dict[str, list[str]] | None:
    """All texts, or None where they have more characters together; no more are made then."""
    found: dict[str, list[str]] = {name: [] for name in texts}
    for name, each in texts.items():
        for text in each:
            most -= len(text)
            if most < 0:
                return None
            found[name].append(text)
    return found


def contents(data: Any, name: str) -> tuple[list[str], bool]:
    """The samples that a page of this name shows by its data, and whether it has training images beside them.

    Raises:
        InputError: they are not the data of such a page.
    """
    try:
        place = [column["name"] for column in data["columns"]].index("sample_id")
        return [row[place] for row in data["rows"]], data.get("of_row") is not None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{name}: not the data of a page ({error!r})") from None


def run_of(info: StoreInfo, table: pd.DataFrame) -> str:
    """What samples are of, as <dataset>-<model>; the dataset alone where there is none."""
    return str(table["sample_id"].iloc[0]).rpartition("-")[0] if len(table) else info.dataset


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Every cell as text; missing ones are empty."""
    return table.astype(object).where(table.notna(), "").astype(str)


def columns_of(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """What the page knows of each column: its group, and how it is filtered.

    Args:
        cells: text.
    Returns:
        name, group (asked, read, judged or origin) and kind: `choice` with its values, `range` with low and high, or
        `text`, which has no filter.
    """
    return [{"name": name, "group": _group(name), **_filter(cells[name])} for name in map(str, cells.columns)]


def picture(image: np.ndarray, about: str, side: int | None = None, spacing_mm: Sequence[float] | None = None) -> str:
    """WebP in base64 of one stored image uint16 (C, *spatial), never enlarged; of a volume its three middle planes.

    Args:
        about: what the file says of itself, in its EXIF description.
        side: pixels of the longer side, of each plane, at most.
    """
    if image.ndim == 4:
        pictures = [view(image, axis, spacing_mm or ISOTROPIC) for axis in range(len(PLANES))]
    else:
        pictures = [as_picture(image)]
    longest = max(max(each.size) for each in pictures)
    scale = min(1.0, (side or longest) / longest)
    sizes = [tuple(max(1, round(extent * scale)) for extent in each.size) for each in pictures]
    sheet = Image.new("RGB", (sum(size[0] for size in sizes), max(size[1] for size in sizes)))
    x = 0
    for each, (width, height) in zip(pictures, sizes, strict=True):
        shown = each if scale == 1 else each.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(shown, (x, (sheet.height - height) // 2))
        x += width
    exif = Image.Exif()
    exif[DESCRIPTION_TAG] = about
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=QUALITY, method=4, exif=exif)
    return base64.b64encode(file.getvalue()).decode()


def _group(column: str) -> str:
    if column in VERDICT:
        return "judged"
    if column.startswith(PREDICTED):
        return "read"
    return "origin" if column in RESERVED else "asked"


def _filter(cells: pd.Series) -> dict[str, Any]:
    distinct = sorted(set(cells))
    if _group(str(cells.name)) == "origin" or len(distinct) == 1:
        return {"kind": "text"}
    numbers = dict(_numbers(distinct))
    if numbers and len(numbers) == len([cell for cell in distinct if cell not in ABSENT]):
        distinct.sort(key=lambda cell: (cell in numbers, numbers.get(cell, 0.0)))
        if len(distinct) > MOST_CHOICES or not all(map(float.is_integer, numbers.values())):
            return {"kind": "range", "low": min(numbers.values()), "high": max(numbers.values())}
    return {"kind": "choice", "values": distinct} if len(distinct) <= MOST_CHOICES else {"kind": "text"}


def _numbers(cells: list[str]) -> Iterator[tuple[str, float]]:
    for cell in cells:
        try:
            number = float(cell)
        except ValueError:
            continue
        if np.isfinite(number):
            yield cell, number
