"""The pages: their lengths, their links, the two languages of the README, and the hook that makes a site of them."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)]*))?\)")
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "config/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
README, KOREAN = ((ROOT / name).read_text() for name in ("README.md", "README.ko.md"))


def code_blocks(page: str) -> list[str]:
    return re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As GitHub and the site make them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_of_the_repository(page):
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        file = (page.parent / target).resolve()
        assert file.exists() and file.is_relative_to(ROOT), f"{target} is not there"
        assert not anchor or anchor in anchors(file), f"{target} has no heading {anchor}"


def test_the_readme_is_short():
    assert len(README.split()) <= 1200


@pytest.mark.parametrize("record", sorted((ROOT / "docs/decisions").glob("[!i]*.md")), ids=lambda path: path.stem)
def test_a_decision_is_short_and_says_why_and_what_follows(record):
    text = record.read_text()
    assert len(text.split()) < 200
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert f"({record.name})" in (ROOT / "docs/decisions/index.md").read_text()


def test_both_languages_have_the_same_commands_links_and_sections():
    def commands(page: str) -> list[str]:
        return [line.split("#")[0].strip() for block in code_blocks(page) for line in block.splitlines()
                if line.startswith(("make ", ".venv/"))]  # fmt: skip

    assert commands(README) == commands(KOREAN) and len(commands(README)) >= 5
    assert len(re.findall(r"^## ", README, re.MULTILINE)) == len(re.findall(r"^## ", KOREAN, re.MULTILINE))
    between = {"README.md", "README.ko.md"}
    of_pages = [[target for target, _ in LINK.findall(page) if target not in between] for page in (README, KOREAN)]
    assert of_pages[0] == of_pages[1]


def test_both_languages_have_the_same_figures():
    def numbers(page: str) -> list[str]:
        section = re.search(r"^## (?:Figures|수치)\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
        assert section
        return sorted(re.findall(r"\d[\d.,]*\d|\d", " ".join(line for line in section[1].splitlines() if "|" in line)))

    assert numbers(README) == numbers(KOREAN)


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / "docs/site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("here", "written", "shown"),
    [
        ("index.md", "[a](docs/data.md)", "[a](data.md)"),
        ("index.md", "![a](docs/demo.png)", "![a](demo.png)"),
        ("index.md", "[a](config/README.md)", "[a](configuration.md)"),
        ("data.md", "[a](../config/README.md#dataset)", "[a](configuration.md#dataset)"),
        ("decisions/cascade.md", "[a](../../benchmarks/README.md#x)", "[a](../benchmarks.md#x)"),
        ("benchmarks.md", "see [peers.py](peers.py)", "see peers.py"),
        ("data.md", "[a](https://example.org/b)", "[a](https://example.org/b)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(site, here, written, shown):
    page = SimpleNamespace(file=SimpleNamespace(src_uri=here))
    assert site.on_page_markdown(written, page) == shown


def test_a_link_to_nothing_ends_the_site(site):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="data.md"))
    with pytest.raises(ValueError, match=r"data.md: nowhere.md is no file of the repository"):
        site.on_page_markdown("[a](nowhere.md)", page)
