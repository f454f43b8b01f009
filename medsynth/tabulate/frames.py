"""Frames of multi-frame DICOM, or pages of TIFF, as rows of their own: files stay whole, a cell names the frame."""

from __future__ import annotations

import logging
from pathlib import Path

from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.images.formats import files as formats
from medsynth.tabulate.slices import ABSENT

log = logging.getLogger(__name__)


def rows_of_frames(table: Path, every: int = 1) -> list[dict[str, str]]:
    """A row for each frame, `scan.dcm#3` in place of `scan.dcm`, with all other cells of its file's row.

    The column `frame` has its number, from 0.
    A mask is a file of as many frames, or one that holds for all of them. Files of one frame, and cells that name a
    frame already, stay as they are. Rows whose files cannot be used are left out, and named.

    Args:
        every: one frame of so many, from the first on.
    Raises:
        InputError: no columns image and subject_id, a column frame already, or no row that can be used.
    """
    header, cells = tables.read_rows(table)
    if missing := [name for name in ("image", "subject_id") if name not in header]:
        raise InputError(f"{table}: no column {missing[0]!r}")
    if "frame" in header:
        raise InputError(f"{table}: has a column 'frame' already, which the numbers of the frames are for")
    rows: list[dict[str, str]] = []
    left_out = 0
    for number, of_row in enumerate(cells, start=1):
        row = dict(zip(header, of_row, strict=False))
        try:
            frames = _count(table.parent, row["image"])
            mask = row.get("mask", "")
            of_mask = 1 if mask in ABSENT else _count(table.parent, mask)
            if of_mask not in (1, frames):
                raise InputError(f"mask of {of_mask} frames, its image has {frames}")
        except InputError as error:
            left_out += 1
            log.warning("%s: row %d (%s) is left out: %s", table, number, row["image"], error)
            continue
        for frame in range(0, frames, every):
            rows.append(row | {"image": _named(row["image"], frame, frames), "frame": str(frame)})
            if of_mask > 1:
                rows[-1]["mask"] = _named(mask, frame, frames)
    if not rows:
        raise InputError(f"{table}: no frame, {left_out} of {len(cells)} files cannot be used")
    return rows


def _count(root: Path, cell: str) -> int:
    name, frame = formats.split_frame(cell)
    data = formats.read_bytes(str(root / name))
    return 1 if frame is not None else formats.count_frames(data, name)


def _named(cell: str, frame: int, frames: int) -> str:
    return f"{cell}#{frame}" if frames > 1 else cell
