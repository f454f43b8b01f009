"""Headless Chromium, for pages as a reader sees them."""

import re
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest


class Seen:
    """What Chromium made of a page."""

    def __init__(self, dom: str, console: list[str]) -> None:
        self.dom, self.console = dom, console

    def text(self, identifier: str) -> str:
        """The text of the element with an id, which has no element in it."""
        found = re.search(rf'\bid="{identifier}"[^>]*>([^<]*)<', self.dom)
        assert found, f"no element {identifier} with text alone"
        return unescape(found[1])

    def all(self, pattern: str) -> list[str]:
        """What a pattern with one group finds, its character references resolved."""
        return [unescape(found) for found in re.findall(pattern, self.dom)]


@pytest.fixture
def look(browser: str, tmp_path: Path) -> Callable[..., Seen]:
    """A function that opens a file at an address fragment, with more options of Chromium, without a network."""

    def run(page: Path, fragment: str = "", *options: str) -> Seen:
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"),
                *("--virtual-time-budget=5000", "--enable-logging=stderr", "--window-size=1400,1000"),
                *("--host-resolver-rules=MAP * ~NOTFOUND", *options, f"{page.as_uri()}#{fragment}"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return Seen(done.stdout, re.findall(r"CONSOLE[:(\d)]*\] (.*)", done.stderr))

    return run
