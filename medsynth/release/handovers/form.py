"""What a hand-over is: a further form of a released dataset beside its images and metadata.csv."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsynth.artifacts.released import Released, rows_of
from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import StoreInfo
from medsynth.conditions.column import Column
from medsynth.config.columns import FURTHER_FILES, MASK_FILE
from medsynth.release.formats import Encoder, ReleaseFormat
from medsynth.release.licence import Licence
from medsynth.release.provenance import Provenance

FILES = ("file_name", MASK_FILE, *FURTHER_FILES.values())  # columns that name files


@dataclass(frozen=True)
class Contents:
    """A release as a hand-over finds it: images, masks and tables are written.

    Attributes:
        table: metadata.csv as text; columns: what its columns hold, in their order.
        contrast: of MR volumes that all have the same.
        formats: that each image is written in, the first is that of `file_name`.
        images: uint16 (N, C, *spatial) of all samples; positions: of the rows of `table` among them.
    """

    folder: Path
    table: pd.DataFrame
    columns: tuple[Column, ...]
    formats: Mapping[str, ReleaseFormat]
    info: StoreInfo
    licence: Licence
    citation: str | None
    contrast: str | None
    made_by: Provenance
    encoder: Encoder
    images: Images
    positions: tuple[int, ...]

    @property
    def first_format(self) -> ReleaseFormat:
        return next(iter(self.formats.values()))

    @property
    def title(self) -> str:
        return f"{self.info.dataset}: synthetic images ({self.info.modality})"

    @property
    def disclaimer(self) -> str:
        """As every image has it in its header."""
        return self.encoder.about["Disclaimer"]

    def samples(self) -> Iterator[tuple[dict[str, str], np.ndarray]]:
        """Each row of the table, and its image (C, *spatial)."""
        for row, position in zip(rows_of(self.table), self.positions, strict=True):
            yield row, self.images[position]

    @property
    def conditions(self) -> tuple[Column, ...]:
        """The columns that images were asked for by."""
        asked = self.info.condition_schema.of_column
        return tuple(column for column in self.columns if column.name in asked)


@dataclass(frozen=True)
class HandOver:
    """One form.

    Attributes:
        place: the file or folder that it leaves in the release.
        summary: what it is and what reads it, for the card.
        write: leaves it there.
        check: a line for each thing that is wrong with it, read by itself and beside the table. It raises InputError
            where a file cannot be read.
        data_files: what Hugging Face `datasets` loads of the folder, in place of images and metadata.csv
            if it is not empty.
        describes_all: it describes the other forms too, and is written last.
    """

    place: str
    summary: str
    write: Callable[[Contents], None]
    check: Callable[[Released], Iterator[str]]
    data_files: tuple[str, ...] = ()
    describes_all: bool = False


def values_of(columns: tuple[Column, ...], row: Mapping[str, str]) -> dict[str, Any]:
    """The typed values of a row's cells, None where one is missing or cannot apply."""
    return {column.name: column.value(row[column.name]) for column in columns}
