"""YAML with comments: plain values, and notes that stand above the keys they belong to."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

WIDTH = 110
Keys = tuple[str, ...]  # from the top down to one


class _Plain(yaml.SafeDumper):
    """Writes a list that stands in two places twice, and not as a reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Plain, text: str) -> yaml.ScalarNode:
    """Escape line ends: a quoted text could go on on the next line, a key could not."""
    one_line = len(text.splitlines()) < 2 and not text[-1:].isspace()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if one_line else '"')


_Plain.add_representer(str, _text)


def flow(value: Any) -> str:
    """A value on one line, quoted wherever YAML would read it as something else."""
    # Inside a list a text is quoted for every place where it may stand.
    options: Any = {"default_flow_style": True, "width": float("inf"), "allow_unicode": True, "sort_keys": False}
    return str(yaml.dump([value], Dumper=_Plain, **options)).strip()[1:-1]


def printable(text: str, longest: int = 60) -> str:
    """A text of a table as a comment can hold it: on one line, nothing that steers a terminal."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def render(values: Mapping[str, Any], notes: Mapping[Keys, Sequence[str]]) -> str:
    """A document.

    Args:
        notes: path of keys → comments above that key, `()` those at the top. Each is wrapped.
    """
    head = [*_comments(notes.get((), ()), ""), ""]
    return "\n".join([*head, *_block(values, notes, ())]) + "\n"


def _block(values: Mapping[str, Any], notes: Mapping[Keys, Sequence[str]], path: Keys) -> list[str]:
    indent = "  " * len(path)
    lines: list[str] = []
    for key, value in values.items():
        here = (*path, key)
        if not path and lines:
            lines.append("")
        lines += _comments(notes.get(here, ()), indent)
        noted_below = any(len(noted) > len(here) and noted[: len(here)] == here for noted in notes)
        line = f"{indent}{flow(key)}: {flow(value)}"
        nested = isinstance(value, dict) and value
        if nested and (noted_below or not path or len(line) > WIDTH):
            lines += [f"{indent}{flow(key)}:", *_block(value, notes, here)]
        elif isinstance(value, list) and value and len(line) > WIDTH:
            lines += [f"{indent}{flow(key)}:", *(f"{indent}  - {flow(item)}" for item in value)]
        else:
            lines.append(line)
    return lines


def _comments(notes: Sequence[str], indent: str) -> list[str]:
    return [
        f"{indent}# {line}"
        for note in notes
        for line in textwrap.wrap(note, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    ]
