"""A digest of the code that a step runs, so that edited code reruns the steps that use it and no other.

Found by reading the source alone, so that it costs no import of torch: it starts from what the step's own function in
cli.py imports, and from what a run chose of the registry. `config`, `errors`, `registry` and `disk.files` are left out,
since every step imports them; `config` only checks, and what it lets through is in the step's settings: COUNTED are its
modules that do more. The templates of a page beside its module are part of it, and so are the versions of the
libraries that this code imports.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from medsynth.registry import Entry

PACKAGE = Path(__file__).parent
SHARED = ("medsynth.config", "medsynth.errors", "medsynth.registry", "medsynth.disk.files")
# Of `config`, what does more than check: the columns of tables, and the frames of strips.
COUNTED = ("medsynth.config.columns", "medsynth.config.along")
TEMPLATES = (".html", ".css", ".js")  # of what a module's page is made, beside it and named like it
DECIDE_NOTHING = {"psutil", "pydantic", "tqdm"}  # of a result
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "skimage": "scikit-image", "sklearn": "scikit-learn"}


def fingerprint(step: str, chosen: Iterable[Entry] = ()) -> str:
    """Hexadecimal SHA-256 over the modules that a step uses, and the versions of the libraries that they import.

    Args:
        chosen: entries of the registry that the run chose.
    """
    digest = hashlib.sha256()
    chosen = sorted(chosen, key=lambda entry: entry.code)
    used = modules((*roots(step), *(entry.module for entry in chosen)))
    digest.update("\0".join(entry.code for entry in chosen).encode())
    for module in sorted(used):
        source = _file(module)
        assert source is not None, module
        digest.update(module.encode() + b"\0" + source.read_bytes() + b"\0")
        for beside in filter(Path.is_file, map(source.with_suffix, TEMPLATES)):
            digest.update(beside.name.encode() + b"\0" + beside.read_bytes() + b"\0")
    for library in sorted({name for module in used for name in libraries(module)}):
        digest.update(f"{library} {_version(library)}\0".encode())
    return digest.hexdigest()


def roots(step: str) -> tuple[str, ...]:
    """The modules that the step's own function in cli.py imports.

    Raises:
        KeyError: cli.py has no function of the step's name.
    """
    cli = ast.parse((PACKAGE / "cli.py").read_bytes())
    functions = {node.name: node for node in cli.body if isinstance(node, ast.FunctionDef)}
    return _modules_of(_names(functions[step], "medsynth"))


def modules(start: tuple[str, ...]) -> set[str]:
    """These modules and every module of the package that they import, at any depth and in any function."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        module = waiting.pop()
        if module in found or _is_shared(module):
            continue
        found.add(module)
        waiting.extend(_imports(module))
    return found


def _is_shared(module: str) -> bool:
    return module not in COUNTED and any(f"{module}.".startswith(f"{shared}.") for shared in SHARED)


def _file(module: str) -> Path | None:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _imports(module: str) -> tuple[str, ...]:
    return _modules_of(_names_of(module))


def libraries(module: str) -> set[str]:
    """The top names of the libraries that a module imports, those of Python itself left out."""
    tops = {name.partition(".")[0] for name in _names_of(module)}
    return tops - {"medsynth"} - DECIDE_NOTHING - sys.stdlib_module_names


@cache
def _version(library: str) -> str:
    """Without the part that tells builds apart: the same release on another machine is no other library."""
    try:
        return metadata.version(DISTRIBUTIONS.get(library, library)).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"


@cache
def _names_of(module: str) -> tuple[str, ...]:
    file = _file(module)
    assert file is not None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_names(ast.parse(file.read_bytes()), package))


def _modules_of(names: Iterable[str]) -> tuple[str, ...]:
    """The package's modules that importing these names runs: of `medsynth.a.b`, a and b; the last may be no module."""
    used: set[str] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] == "medsynth":
            used.update(".".join(parts[:end]) for end in range(2, len(parts) + 1))
    return tuple(sorted(name for name in used if _file(name) is not None))


def _names(node: ast.AST, package: str) -> Iterator[str]:
    """Dotted names imported below a node, without those that only a type checker sees."""
    if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
        for branch in node.orelse:
            yield from _names(branch, package)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
        origin = ".".join([*base, node.module] if node.module else base)
        yield from (f"{origin}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _names(child, package)
