"""Tables: a user's, and those that medsynth writes. A spreadsheet shows the latter's cells and runs none as a formula.

A text that a spreadsheet could take for a formula (CWE-1236) stands behind an apostrophe; numbers stay as they are,
negative ones too. `read` takes the apostrophe off again. Other programs find it in the cell, and may drop one
leading apostrophe wherever one of = + - @, a tab or a line end follows.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from medsynth.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# Apostrophes may come first, so that a text that has one of its own comes back with it. Some spreadsheets skip blanks,
# and take the wide forms of East Asian keyboards.
FORMULA = re.compile(r"'*(?:[\s\0-\x1f]*[=+\-@＝＋－＠]|[\t\r\n])")  # noqa: RUF001
DELIMITERS = {".tsv": "\t", ".tab": "\t"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class _Lines:
    """Turns the CR LF line ends of a CSV writer into LF.

    A writer that ends lines with CR LF quotes cells that hold CR or LF. Unquoted, a CR would begin a new row for many
    programs.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


def harmless(cell: Any) -> Any:
    """Escape a cell that a spreadsheet could run as a formula."""
    # Most cells begin with a letter or a digit, and need no more than the first test.
    if not isinstance(cell, str) or cell[:1].isalnum() or not FORMULA.match(cell) or NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def as_it_was(cell: str) -> str:
    """The inverse of `harmless` for text."""
    return cell[1:] if cell.startswith("'") and harmless(cell[1:]) == cell else cell


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV with a header; each row has exactly these columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(_Lines(file), columns)
        writer.writeheader()
        writer.writerows({column: harmless(cell) for column, cell in row.items()} for row in rows)


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table.map(harmless).to_csv(cast(TextIO, _Lines(file)), index=False, lineterminator="\r\n")


def read(path: Path, columns: Sequence[str] = (), text: bool = True) -> pd.DataFrame:
    """Read a table that `write` or `write_rows` wrote.

    Args:
        columns: required ones.
        text: keep every cell as text; otherwise numbers become numbers and empty cells NaN.
    Raises:
        InputError: it is not there, no table, or lacks a column.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False) if text else pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); remove it and make it again") from None
    if missing := [column for column in columns if column not in table]:
        raise InputError(f"{path}: damaged (no column {missing[0]!r}); remove it and make it again")
    for column in table.select_dtypes(exclude=["number", "bool"]):
        marked = table[column].str.startswith("'", na=False)
        if marked.any():
            table[column] = table[column].where(~marked, table[column].map(as_it_was, na_action="ignore"))
    return table


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a CSV or TSV, every cell as text.

    Raises:
        InputError: not a UTF-8 table, no row, or a column named twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    first = text.partition("\n")[0]
    delimiter = DELIMITERS.get(path.suffix.lower()) or max(",;\t", key=first.count)
    try:
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not a table ({error})") from None
    if not lines:
        raise InputError(f"{path}: empty, expected a header and one row an image")
    header, *rows = lines
    if repeated := [column for column, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path}: column {repeated[0]!r} stands {header.count(repeated[0])} times in the header")
    if not rows:
        raise InputError(f"{path}: a header without rows")
    return header, rows
