"""A template of HTML filled so that it needs no other file, no network, and runs no script but its own.

template.css and template.js, beside this module, are what the templates share.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from medsynth.errors import InputError

TITLE, POLICY, STYLE, LIBRARY, SCRIPT, DATA = (
    f"<!--{name}-->" for name in ("TITLE", "POLICY", "STYLE", "LIBRARY", "SCRIPT", "DATA")
)
SHARED = {STYLE: Path(__file__).with_suffix(".css"), SCRIPT: Path(__file__).with_suffix(".js")}
RUNS = re.compile(r"<script>(.*?)</script>", re.DOTALL)
ENDS = re.compile(r"</script|<!--", re.IGNORECASE)
HELD = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def filled(template: Path, title: str, data: Any, library: str = "") -> str:
    """The page of a template: its title, and its data as JSON in an element `data`.

    A content security policy allows the scripts of the template and the library by their digests, and data and files
    beside the page as images: whatever the data hold, nothing else runs and nothing is fetched from the network.

    Args:
        library: JavaScript that runs before the template's own; empty for none.
    Raises:
        InputError: the library would end the element that it stands in.
    """
    if ENDS.search(library):
        raise InputError(f"{template.name}: the library holds the end of a script, it cannot stand in a page")
    text = template.read_text(encoding="utf-8")
    for marker, shared in SHARED.items():
        text = text.replace(marker, shared.read_text(encoding="utf-8"), 1)
    text = text.replace(LIBRARY, library, 1)
    scripts = [found.encode() for found in RUNS.findall(text)]
    digests = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(found).digest()).decode()}'" for found in scripts)
    text = text.replace(POLICY, digests, 1).replace(TITLE, html.escape(title))
    before, after = text.split(DATA)
    return before + embedded(data) + after


def embedded(data: Any) -> str:
    """JSON in ASCII that holds nothing by which HTML would end the element that it stands in."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def held(path: Path) -> Any:
    """The data of a page that `filled` wrote.

    Raises:
        InputError: there are none.
    """
    found = HELD.search(path.read_text(encoding="utf-8"))
    try:
        return json.loads(found[1] if found else "")
    except ValueError as error:
        raise InputError(f"{path}: its data cannot be read ({error})") from None
