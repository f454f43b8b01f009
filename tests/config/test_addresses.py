"""Passwords and tokens in addresses: found, refused in a configuration, and hidden wherever they would show."""

import logging
import traceback

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medsynth import config
from medsynth.config import addresses
from medsynth.errors import InputError
from tests.config.test_config import CONFIG

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://name:hunter2@host:5000/x", "http://***@host:5000/x"),
        ("https://hunter2@host", "https://***@host"),
        ("postgresql+psycopg://name:hunter2@host/db", "postgresql+psycopg://***@host/db"),
        ("http://name:hun@ter2@host", "http://***@host"),
        ("http://name:hunter2 'x@host", "http://***@host"),
        ("postgresql://name:hunter2/x@host/db", "postgresql://***@host/db"),
        ("postgresql://name:hunter2?x@host/db", "postgresql://***@host/db"),
        ("postgresql://name:hunter2#x@host/db", "postgresql://***@host/db"),
        ("postgresql://name:hunter2'x@host/db", "postgresql://***@host/db"),
        ('mysql+pymysql://name:hunter2" x@host/db', "mysql+pymysql://***@host/db"),
        ("mysql://name:s3://hunter2@host/db", "mysql://***@host/db"),
        ("https://host/api?token=hunter2&a=1", "https://host/api?token=***&a=1"),
        ("mysql://host/db?a=1&Password=hunter2", "mysql://host/db?a=1&Password=***"),
        ("mysql://host/db?password=hunter2'x#y/z", "mysql://host/db?password=***"),
        ("https://host/x?sig=hunter2#end", "https://host/x?sig=***#end"),
    ],
)
def test_a_secret_is_hidden_and_refused_in_a_configuration(address, shown):
    assert addresses.public(f"{address} and {address}") == f"{shown} and {shown}"
    with pytest.raises(InputError, match=r"config: tracking\.uri: a password or token .* write \$\{NAME\}") as caught:
        config.parse(config.Config, CONFIG | {"tracking": {"uri": address}}, "config")
    assert SECRET not in str(caught.value) and "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///a folder/mlflow.db",
        "http://127.0.0.1:5000",
        "https://host/path@2",
        "sqlite:////home/name@place/mlflow.db",
        "postgresql://name@host/db?sslmode=require",
        "http://${NAME}:${PASSWORD}@host",
        "https://host?token=${TOKEN}",
        "databricks://profile",
        "file:///x",
    ],
)
def test_an_address_without_a_secret_is_taken(address):
    assert config.parse(config.Config, CONFIG | {"tracking": {"uri": address}}, "").tracking.uri == address


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_no_password_in_a_wrong_setting_is_quoted(password):
    assume(password not in "config: tracking.uri: Input should be a valid string, got ['postgresql://***@host/db']")
    with pytest.raises(InputError) as caught:
        config.parse(config.Config, CONFIG | {"tracking": {"uri": [f"postgresql://u:{password}@host/db"]}}, "config")
    assert password not in str(caught.value)


def test_a_text_is_readable_around_its_addresses():
    text = "postgresql://u:p/q@host/db: no route\n@decorated 'http://host/x' 'http://u:p@host' me@place"
    assert addresses.public(text) == "postgresql://***@host/db: no route\n@decorated 'http://host/x' 'http://***@place"


def test_hiding_takes_time_in_proportion_to_the_text():
    assert addresses.public("a://b " * 200_000) == "a://b " * 200_000
    assert addresses.public("://" * 200_000 + "@") == "://***@"


def test_variables_are_read_from_the_environment_and_stay_hidden(monkeypatch):
    monkeypatch.setenv("PASSWORD", "p%40ss word")
    place = addresses.resolve("postgresql://name:${PASSWORD}@host/db", "tracking.uri")
    assert place.uri == "postgresql://name:p%40ss word@host/db"
    assert place.hide("p%40ss word is p@ss word") == "*** is ***"
    assert "word" not in str(place) + repr(place) and str(place) == "postgresql://***@host/db"


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("ABSENT", raising=False)
    with pytest.raises(InputError, match=r"tracking\.uri: the environment variable ABSENT is not set"):
        config.Tracking(uri="http://a:${ABSENT}@host").check_environment()


def test_no_library_logs_a_secret(monkeypatch, caplog):
    monkeypatch.setenv("TOKEN", SECRET)
    place = addresses.resolve("https://host?token=${TOKEN}", "tracking.uri")
    with place.kept_out_of_logs():
        try:
            raise ValueError(f"no answer for {SECRET}")
        except ValueError:
            logging.getLogger("any.library").exception("retry %s of %s", 2, place.uri)
    assert "retry 2 of https://host?token=***" in caplog.text and "no answer for ***" in caplog.text
    assert SECRET not in caplog.text
    logging.getLogger("any.library").error(SECRET)  # outside, nothing is changed
    assert SECRET in caplog.text


def test_an_error_is_one_printable_line():
    text = str(InputError("a\nb\x1b[31m\u202e\udc80 é"))
    assert text == r"a\nb\x1b[31m\u202e\udc80 é"
    assert traceback.format_exception_only(InputError("a\nb"))[-1].count("\n") == 1
