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
AUTHORITY = re.compile(r"[^/?#]*")  # of a web address
NEXT = re.compile(
    r"(?<=\n)|(?<=[\s'\"])(?=[a-z][\w+.-]*://)", re.IGNORECASE
)  # where another address may begin in a text
SECRET_KEY = r"[\w.-]*(?:pass|pwd|token|secret|credential|signature|api[_-]?key|access[_-]?key)[\w.-]*|sig|key"
QUERY = re.compile(rf"(?<=[?&;])({SECRET_KEY})=([^&\s]*)", re.IGNORECASE)
WEB_QUERY = re.compile(rf"(?<=[?&;])({SECRET_KEY})=([^&;#\s'\"]*)", re.IGNORECASE)


@dataclass(frozen=True)
class _User:
    """The user's part of an address, `name:password` or a name alone; `web`: of one that begins with http."""

    start: int
    end: int
    name: str
    password: str | None
    web: bool


def _users(address: str) -> Iterator[_User]:
    """The user's part of an address, and of addresses inside it.

    It ends at the last @: a password may hold one, though it should be percent-encoded. For a web address the path
    begins at the first slash; SQLAlchemy takes a slash, a question mark, a blank or a quote for part of a password.
    """
    start = 0
    while (found := address.find("://", start)) >= 0:
        start = found + 3
        web = address[max(0, found - 5) : found].lower().endswith(("http", "https"))
        if web:
            end = AUTHORITY.match(address, start).end()  # type: ignore[union-attr]  # it matches everywhere
        else:
            end = start if address.startswith("/", start) else len(address)  # sqlite:///: no host, and no user
        if (at := address.rfind("@", start, end)) > start:
            name, colon, password = address[start:at].partition(":")
            yield _User(start, at, name, password if colon else None, web)
        start = end


def _query(address: str) -> re.Pattern[str]:
    """What finds an address's tokens."""
    return WEB_QUERY if address.partition("://")[0].lower().endswith(("http", "https")) else QUERY


def public_address(address: str) -> str:
    """An address without its user, password and tokens."""
    kept, start = [], 0
    for user in _users(address):
        kept += [address[start : user.start], HIDDEN]
        start = user.end
    return _query(address).sub(rf"\1={HIDDEN}", "".join([*kept, address[start:]]))


def public(text: str) -> str:
    """A text without the users, passwords and tokens of the addresses in it; where in doubt, more is hidden."""
    return "".join(map(public_address, NEXT.split(text)))


def secrets(address: str) -> list[str]:
    """The parts of an address that must not be seen: its password, or the user where none follows, and its tokens."""
    found = [value for _, value in _query(address).findall(address)]
    for user in _users(address):
        found.append(user.name if user.password is None else user.password)
        found.append(found[-1].partition("@")[0])  # what SQLAlchemy takes for the password
    return [part for part in found if part]


def variables(address: str) -> list[str]:
    """The names of the environment variables that an address refers to."""
    return VARIABLE.findall(address)


def holds_secret(address: str) -> bool:
    """Whether a password or a token stands in it that is not left to the environment.

    A user's name alone is none for a database; for a web address it can be a token.
    """
    found = [value for _, value in _query(address).findall(address)]
    found += [user.password or (user.name if user.web else "") for user in _users(address)]
    return any(part and not VARIABLES_ALONE.fullmatch(part) for part in found)


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
        raise InputError(
            f"{key}: the environment variable {missing[0]} is not set, {public_address(address)} refers to it"
        )
    uri = VARIABLE.sub(lambda match: os.environ[match[1]], address)
    values = {*secrets(uri), *(os.environ[name] for name in variables(address))}
    return Address(uri, tuple(sorted(values | set(map(unquote, values)), key=len, reverse=True)))
