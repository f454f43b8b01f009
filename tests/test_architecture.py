"""The arrows between the parts: who may know whom. Read from the source, so that lazy imports count too."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medsynth"

# A module may import from its own row and from rows above it.
ROWS = (
    {
        "addresses",
        "averaging",
        "columns",
        "devices",
        "errors",
        "files",
        "fingerprint",
        "gpus",
        "modalities",
        "processes",
        "tables",
    },
    {"config", "image"},
    {"conditions", "formats", "phantoms", "preprocessing", "samples"},
    {"sources", "store", "codecs", "networks", "augmentation", "shards"},
    {"preparation", "models", "figures", "release", "tracking"},
    {"checkpoint", "evaluation"},
    {"batches"},
    {"training", "sampling"},
    {"cli"},
    {"__main__"},
)
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
GENERATING = {"models", "networks", "codecs", "augmentation", "checkpoint", "batches", "training", "sampling"}
READS_FILES_AND_TABLES = ("evaluation", "release", "tracking", "figures", "shards")


def part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of the package that a module imports at run time."""
    found = set()
    tree = ast.parse(path.read_text())
    checked = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    unseen = {id(child) for node in checked for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("medsynth.")}
    return found & set(ROW)


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if part(path) != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_upwards(path):
    assert {name for name in imports(path) if ROW[name] > ROW[part(path)]} == set()


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part(path) in READS_FILES_AND_TABLES], ids=lambda p: p.name
)
def test_judging_and_handing_over_know_no_model(path):
    assert imports(path) & GENERATING == set()


def test_only_the_table_of_families_names_them():
    named = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if "models.diffusion" in path.read_text() and part(path) != "fingerprint"
    }
    assert named == {"models/__init__.py", "models/consistency.py"}  # a student has its teacher's networks


def test_the_workflow_imports_the_schema_and_the_fingerprint_alone():
    allowed = {"import medsynth.config as schema", "from medsynth.errors import InputError"}
    allowed |= {"from medsynth.fingerprint import fingerprint"}
    lines = [
        line.strip().split("  #")[0]
        for path in sorted((PACKAGE.parent / "workflow").rglob("*.smk"))
        for line in path.read_text().splitlines()
        if "medsynth" in line and line.strip().startswith(("import", "from"))
    ]
    assert set(lines) <= allowed
