"""The arrows between the rooms: who may know whom. Read from the source, so that lazy imports count too."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medsynth"

# A room may import from rooms on floors below it. Steps import no other step; on the other floors, rooms side by side
# know each other only as ALSO says.
STEPS = {"prepare", "reference", "train", "tune", "sample", "evaluate", "gates", "release", "track"}
STEPS |= {"utility", "membership", "vary", "educate", "browse", "verify", "tabulate", "insert"}
FLOORS = (
    {"errors", "fingerprint", "registry", "disk", "machine"},
    {"images"},
    {"config", "phantoms"},
    {"conditions"},
    {"artifacts"},
    {"judges", "models", "pages"},
    STEPS,
    {"init", "arguments"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ALSO = {("fingerprint", "registry"), *((room, "errors") for room in FLOORS[0])}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms that a module imports from at run time, its own left out."""
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
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("medsynth.")}
    return found - {"__version__", room(path)}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if room(path) != "__init__")


def test_every_room_has_its_floor():
    assert {room(path) for path in MODULES} == set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    wrong = {name for name in imports(path) if FLOOR[name] >= FLOOR[here] and (here, name) not in ALSO}
    assert wrong == set()


OWN = ("models/families/", "models/diffusion/", "models/stylegan/", "models/vae/", "config/families/")


def test_only_the_registry_names_families():
    named = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if "models.families." in path.read_text() or "config.families." in path.read_text()
    }
    own = {path for path in named if path.startswith(OWN)}
    assert named - own == {"registry.py"}


def test_the_workflow_imports_no_step():
    """The schema, the registry, the fingerprint, and what checks a plan's table: none of them imports torch."""
    allowed = {
        "from medsynth.conditions.requests import read_requests",
        "from medsynth.conditions.schema import ConditionSchema",
        "import medsynth.config as schema",
        "from medsynth.disk import files",
        "from medsynth import registry",
        "from medsynth.errors import InputError",
        "from medsynth.fingerprint import fingerprint",
    }
    lines = [
        line.strip().split("  #")[0]
        for path in sorted((PACKAGE.parent / "workflow").rglob("*.smk"))
        for line in path.read_text().splitlines()
        if "medsynth" in line and line.strip().startswith(("import", "from"))
    ]
    assert set(lines) <= allowed
