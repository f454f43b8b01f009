"""The reference page of the configuration, made from its JSON schema: a table of keys for each section."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from medsynth.errors import InputError

MARKER = "<!-- Below this line everything is written by `make schema`, from the docstrings in medsynth/config. -->"
HEAD = "| key | value | default | meaning |\n| --- | --- | --- | --- |"


def renewed(page: str, schema: dict[str, Any]) -> str:
    """A page whose part below the marker is written anew; what stands above it is kept.

    Raises:
        InputError: the page has no marker.
    """
    written, marker, _ = page.partition(MARKER)
    if not marker:
        raise InputError(f"the page has no line {MARKER!r}")
    return f"{written}{MARKER}\n\n{tables(schema)}"


def tables(schema: dict[str, Any]) -> str:
    """Every section's heading, description and table of keys, in the order in which keys lead to them."""
    found: dict[str, dict[str, Any]] = {}

    def visit(title: str, section: dict[str, Any]) -> None:
        if title not in found:
            found[title] = section
            for name in _references(section):
                visit(name, schema["$defs"][name])

    visit(schema["title"], {key: part for key, part in schema.items() if key != "$defs"})
    return "\n".join(_table(title, section) for title, section in found.items())


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield _name(part)
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        yield from _references(inner)


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _table(title: str, section: dict[str, Any]) -> str:
    rows = [
        f"| {key} | {_cell(_value(part))} | {_cell(_default(part, key in section.get('required', ())))} "
        f"| {_cell(part.get('description', ''))} |"
        for key, part in section["properties"].items()
    ]
    return "\n".join([f"### `{title}`\n", section["description"], "", HEAD, *rows, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _default(part: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = part["default"]
    if next(_references(part), None) and default and not isinstance(default, str):
        return "see there"
    return (default or "empty") if isinstance(default, str) else json.dumps(default)


def _value(part: dict[str, Any]) -> str:
    """The permitted values of a key, in a few words."""
    if "$ref" in part:
        return _link(_name(part))
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{each}`" for each in part["enum"])
    if choices := part.get("oneOf") or part.get("anyOf"):
        return " or ".join(map(_value, choices))
    if "prefixItems" in part:
        return f"[{', '.join(map(_value, part['prefixItems']))}]"
    match part["type"]:
        case "array":
            return f"list of {_value(part['items'])}"
        case "object":
            inner = part.get("additionalProperties") or next(iter(part["patternProperties"].values()))
            names = part.get("propertyNames", {})
            return f"{_value(names) if 'enum' in names else 'name'} → {_value(inner)}"
        case "boolean":
            return "true, false"
        case "integer" | "number" as kind:
            return f"{kind} {', '.join(_bounds(part))}".strip()
        case kind:
            return kind


def _bounds(part: dict[str, Any]) -> Iterator[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    yield from (f"{sign} {part[key]:,}" for key, sign in signs.items() if key in part)
