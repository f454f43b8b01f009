"""A released folder as it is read again: its table, what its columns hold, and the digests of its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medsynth.conditions.column import Column

MARK = "Synthetic, not for diagnosis"  # in the header of every image


def rows_of(table: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of a table of text."""
    return [{str(name): str(cell) for name, cell in row.items()} for row in table.to_dict("records")]


@dataclass(frozen=True)
class Released:
    """What a further form of a dataset is compared with.

    Attributes:
        table: metadata.csv as text; columns: as its schema describes them.
        digests: file → SHA-256, of all files in the folder.
    """

    folder: Path
    table: pd.DataFrame
    columns: tuple[Column, ...]
    digests: Mapping[str, str]

    def below(self, place: str) -> set[str]:
        """The files of a folder, or the file of that name."""
        return {name for name in self.digests if name == place or name.startswith(f"{place}/")}

    def rows(self) -> dict[str, dict[str, str]]:
        """Sample → its row of the table."""
        return {row["sample_id"]: row for row in rows_of(self.table)}

    def unlike(self, what: str, samples: set[str]) -> Iterator[str]:
        """A line for each sample that one of the table and a further form of it lacks."""
        expected = set(self.table["sample_id"])
        yield from (f"{what}: lacks {name}, which metadata.csv has" for name in sorted(expected - samples))
        yield from (f"{what}: has {name}, which metadata.csv lacks" for name in sorted(samples - expected))
