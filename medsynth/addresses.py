"""Addresses of services that may hold a password or a token: never shown, and never written into a file.

What stands in a configuration is written down by Snakemake: in its report, in .snakemake/metadata, and beside the
command of a step that fails. A secret therefore stands there as `${NAME}` and is read from the environment.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from medsynth.errors import InputError

HIDDEN = "***"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
VARIABLES_ALONE = re.compile(rf"(?:{VARIABLE.pattern})+")
# The last @ before the path ends the user's part: a password may hold one, though it should be percent-encoded.
USER = re.compile(r"(?<=://)[^/?#\s'\"]*(?=@)")
SECRET_KEY = r"[\w.-]*(?:pass|pwd|token|secret|credential|signature|api[_-]?key|access[_-]?key)[\w.-]*|sig|key"
QUERY = re.compile(rf"(?<=[?&;])({SECRET_KEY})=([^&;#\s'\"]*)", re.IGNORECASE)


def public(text: str) -> str:
    """A text without the users, passwords and tokens of the addresses in it."""
    return QUERY.sub(rf"\1={HIDDEN}", USER.sub(HIDDEN, text))


def secrets(address: str) -> list[str]:
    """The parts of an address that must not be seen: its password, or the user where none follows, and its tokens."""
    found = [value for _, value in QUERY.findall(address)]
    if user := USER.search(address):
        name, colon, password = user[0].partition(":")
        found.append(password if colon else name)
    return [part for part in found if part]


def variables(address: str) -> list[str]:
    """The names of the environment variables that an address refers to."""
    return VARIABLE.findall(address)


def holds_secret(address: str) -> bool:
    """Whether a password or a token stands in it that is not left to the environment.

    A user's name alone is none for a database; for a web address it can be a token.
    """
    name_alone = (user := USER.search(address)) and ":" not in user[0] and not address.lower().startswith("http")
    found = [part for part in secrets(address) if not (name_alone and user and part == user[0])]
    return any(not VARIABLES_ALONE.fullmatch(part) for part in found)


@dataclass(frozen=True)
class Address:
    """An address as it is used.

    Attributes:
        uri: the whole of it.
        hidden: every spelling of its secrets, the longest first.
    """

    uri: str = field(repr=False)
    hidden: tuple[str, ...] = field(repr=False)

    def hide(self, text: str) -> str:
        """A text without this address's secrets, and without those of any other address in it."""
        for secret in self.hidden:
            text = text.replace(secret, HIDDEN)
        return public(text)

    def __str__(self) -> str:
        return self.hide(self.uri)

    @contextmanager
    def kept_out_of_logs(self) -> Iterator[None]:
        """Hide the secrets in every log record of any library."""
        make_record = logging.getLogRecordFactory()

        def hide_in_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make_record(*args, **kwargs)
            record.msg, record.args = self.hide(record.getMessage()), ()
            if record.exc_info:
                record.exc_text = self.hide(logging.Formatter().formatException(record.exc_info))
            return record

        logging.setLogRecordFactory(hide_in_record)
        try:
            yield
        finally:
            logging.setLogRecordFactory(make_record)


def resolve(address: str, key: str) -> Address:
    """The address with its variables read from the environment.

    Raises:
        InputError: a variable is not set.
    """
    if missing := [name for name in variables(address) if not os.environ.get(name)]:
        raise InputError(f"{key}: the environment variable {missing[0]} is not set, {public(address)} refers to it")
    uri = VARIABLE.sub(lambda match: os.environ[match[1]], address)
    values = {*secrets(uri), *(os.environ[name] for name in variables(address))}
    return Address(uri, tuple(sorted(values | set(map(unquote, values)), key=len, reverse=True)))
