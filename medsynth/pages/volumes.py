"""volumes.html: the volumes of a release in NiiVue, three planes and a rendering, without a network.

Volumes are embedded as they were released, since a page that is opened as a file may not read the files beside it.
Those that are too many for one page are read where the folder is served.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medsynth.artifacts.store import StoreInfo
from medsynth.config.columns import MASK_FILE
from medsynth.images.drawing import disclaimer, structure_colours
from medsynth.pages.gallery import as_text, columns_of, run_of
from medsynth.pages.template import filled

FILE = "volumes.html"
TEMPLATE = Path(__file__).with_suffix(".html")
MOST_CHARACTERS = 64_000_000  # of embedded files in base64


def volumes(info: StoreInfo, table: pd.DataFrame, column: str, folder: Path, viewer: str | None) -> str:
    """The page as HTML.

    Args:
        info: of the store, whose label the list shows.
        table: metadata.csv, one row for each volume.
        column: of the table, that names the files which the viewer reads, below `folder`.
        viewer: NiiVue's bundle; None where it is not installed: the page says so, and lists the files.
    """
    cells = as_text(table)
    data: dict[str, Any] = {
        "label": info.label,
        "about": disclaimer(info.simulated),
        "unit": info.unit,
        "file": column,
        "mask": MASK_FILE,
        "columns": columns_of(cells),
        "rows": cells.to_numpy().tolist(),
        "volumes": dict(_embedded(folder, cells, column)) if viewer else {},
        "structures": [
            {"name": name, "number": number, "colour": colour}
            for (name, number), colour in zip(info.structures.items(), structure_colours(info.structures), strict=True)
        ],
    }
    return filled(TEMPLATE, f"{run_of(info, table)}: synthetic volumes", data, viewer or "")


def _embedded(folder: Path, cells: pd.DataFrame, column: str) -> Iterator[tuple[str, str]]:
    """Name and content in base64 of the files of the first volumes, as many as have room."""
    left = MOST_CHARACTERS
    names: Sequence[str] = [name for name in (column, MASK_FILE) if name in cells]
    for row in cells[list(names)].itertuples(index=False):
        found = {name: base64.b64encode((folder / name).read_bytes()).decode() for name in row if name}
        left -= sum(map(len, found.values()))
        if left < 0:
            return
        yield from found.items()
