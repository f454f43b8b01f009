"""Shared by all sections of the configuration: strictness, common types, and one-line errors."""

from __future__ import annotations

import difflib
import json
import reprlib
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, WithJsonSchema, model_validator

from medsynth.config.addresses import public_address
from medsynth.errors import InputError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Shown(reprlib.Repr):
    """Short text of a bad value: YAML aliases make a value of any length from a few lines. Passwords are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120
        self.maxlevel = 3

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(public_address(x), level)


SHOWN = _Shown()


class Strict(BaseModel):
    """A section of the configuration: immutable, and an unknown key is refused with the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, section: Any) -> Any:
        if isinstance(section, dict):
            for key in section:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key)[:120], cls.model_fields, n=1, cutoff=0.0)
                    raise ValueError(f"unknown key {SHOWN.repr(key)}, did you mean {near[0]!r}?")
        return section


def one_of(known: Iterable[str]) -> WithJsonSchema:
    """Name the members of an open set in the JSON schema; `refuse_unknown` checks them."""
    return WithJsonSchema({"type": "string", "enum": list(known)})


def refuse_unknown(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is none of those known, with the nearest one.

    Raises:
        ValueError: the first such name.
    """
    for name in names:
        if name not in (known := list(known)):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(f"unknown {what} {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))


Settings = TypeVar("Settings", bound=Strict)


def parse(schema: type[Settings], values: Any, where: str) -> Settings:
    """Check values against a section's schema.

    Raises:
        InputError: one line that names the key, what was got and what was expected.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(f"{where}: {_describe(problem, values)}" for problem in error.errors())) from None


def _describe(problem: Any, values: Any) -> str:
    keys = []
    for part in problem["loc"]:
        if isinstance(values, dict) and part not in values and problem["type"] != "missing":
            continue  # pydantic's name for the member of a union, no key of the file
        keys.append(str(part))
        values = values.get(part) if isinstance(values, dict) else None
    key = ".".join(keys) or "top level"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f", got {SHOWN.repr(problem['input'])}"
    return f"{key}: {message}{got}"


def parse_json(schema: type[Settings], text: str | bytes, where: str) -> Settings:
    """Check a JSON text, as a rule hands it to a step."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is no JSONDecodeError
        reason = error if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise InputError(f"{where}: not JSON ({reason})") from None
    return parse(schema, values, where)
