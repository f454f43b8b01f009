"""A page holds its data as data, whatever they are."""

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from medsynth.errors import InputError
from medsynth.pages.template import filled, held

TEMPLATE = """<meta content="script-src <!--POLICY-->"><title><!--TITLE--></title>
<script><!--LIBRARY--></script>
<script type="application/json" id="data"><!--DATA--></script>
<script>own();</script>"""
EVIL = "</script><img onerror=x()> & <!--<script> \u2028 <!--DATA--> é"


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.found.append(tag)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "a.html").write_text(TEMPLATE)
    return tmp_path / "a.html"


def test_data_come_back_and_add_no_element(template: Path, tmp_path: Path) -> None:
    page = filled(template, EVIL, {EVIL: [EVIL]}, "library();")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert held(tmp_path / "page.html") == {EVIL: [EVIL]}
    parser = Elements()
    parser.feed(page)
    assert parser.found == ["meta", "title", "script", "script", "script"]


def test_the_policy_names_the_scripts_alone(template: Path) -> None:
    page = filled(template, "t", [1], "library();")
    digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (b"library();", b"own();")]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'\"" in page


def test_a_library_that_would_end_its_element_is_refused(template: Path) -> None:
    with pytest.raises(InputError, match=r"a\.html: the library holds the end of a script"):
        filled(template, "t", [], "a('</SCRIPT>')")


@pytest.mark.parametrize("text", ["", json.dumps([1]), '<script type="application/json" id="data">{</script>'])
def test_a_page_without_data_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.html").write_text(text)
    with pytest.raises(InputError, match=r"a\.html: its data cannot be read"):
        held(tmp_path / "a.html")
