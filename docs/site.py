"""MkDocs hook: files outside docs/ become pages, and links that hold in the repository hold on the site."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {  # file of the repository → page
    "README.md": "index.md",
    "README.ko.md": "ko.md",
    "config/README.md": "configuration.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
SOURCES = {page: file for file, page in PAGES.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    for file, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    here = page.file.src_uri
    return LINK.sub(lambda link: _on_site(link, here), markdown)


def _on_site(link: re.Match[str], here: str) -> str:
    """A link as it must be on the page `here`; what is no page of the site stays as text."""
    picture, text, target, anchor = link.groups("")
    if "://" in target:
        return link[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(SOURCES.get(here, f"docs/{here}")), target))
    if not (ROOT / file).exists():
        raise ValueError(f"{here}: {target} is no file of the repository")
    page = PAGES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else "")
    if not page:
        return text
    return f"{picture}[{text}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{anchor})"
