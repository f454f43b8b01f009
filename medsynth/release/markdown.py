"""Markdown of the card. A class or a note may hold anything: it is shown letter by letter, and never acts as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

# ASCII that CommonMark, GitHub's tables and formulas, or HTML act on; `_` inside a word, and a lone `:`, they leave.
MARKUP = re.compile(r"[!#$&*<>?@\[\\\]^`{|}~]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|(?<=www)\.", re.IGNORECASE)


def plain(text: Any) -> str:
    """A text on one line whose markup is written as character references, which are never read as markup.

    Characters that cannot be printed, such as those that turn the direction of writing, become U+FFFD.
    """
    one_line = " ".join(str(text).split())
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in one_line)
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable)


def code(name: str) -> str:
    """A name of medsynth's own, which holds no backtick."""
    return f"`{name}`"


def table(columns: Sequence[str], aligned: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown cells.

    Args:
        aligned: the delimiter of each column, `---` or `---:`.
    """
    lines = (columns, aligned, *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(texts: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
