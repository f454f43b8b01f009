"""What is written about the configuration beside the code: the examples parse, the page names every key."""

import json
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from medsynth import config
from medsynth.config import Config, load, page
from tests.workflow.conda.channel import CONDA_NAMES, locked_versions
from tests.workflow.conftest import ROOT

PAGE = (ROOT / "config/README.md").read_text()


def sections() -> dict[str, type[BaseModel]]:
    """Every class that a configuration file can hold, found from the top one."""
    found: dict[str, type[BaseModel]] = {}

    def visit(annotation: Any) -> None:
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if is_section and annotation.__name__ not in found:
            found[annotation.__name__] = annotation
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for part in getattr(annotation, "__args__", ()):
            visit(part)

    visit(Config)
    return found


def table(section: str) -> dict[str, str]:
    """key → default, as the page shows it below the section's name."""
    match = re.search(rf"^### `{section}`\n[\s\S]*?\n\n\| key.*\n\| ---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert match, f"config/README.md has no table for {section}: run make schema"
    rows = [re.split(r" (?<!\\)\| ", row) for row in match[1].splitlines()]
    return {row[0].removeprefix("| "): row[2] for row in rows}


def shown(default: Any) -> str:
    if isinstance(default, BaseModel) or (
        isinstance(default, tuple) and isinstance(next(iter(default), None), BaseModel)
    ):
        return "see there"
    if isinstance(default, str):
        return default.replace("|", r"\|") or "empty"
    return json.dumps(default)


@pytest.mark.parametrize("section", sections())
def test_the_page_shows_every_key_and_default(section: str) -> None:
    fields = sections()[section].model_fields
    assert table(section) == {
        name: "required" if field.is_required() else shown(field.default) for name, field in fields.items()
    }


@pytest.mark.parametrize("section", sections())
def test_every_key_is_explained(section: str) -> None:
    fields = sections()[section].model_fields
    unexplained = {
        name
        for name, field in fields.items()
        if not (field.description or (get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1))
    }
    assert unexplained == set(), "write a docstring below each of these fields, then make schema"


def test_the_page_is_that_of_the_code() -> None:
    assert page.renewed(PAGE, Config.model_json_schema()) == PAGE, "stale: run make schema"


@pytest.mark.parametrize("path", sorted(ROOT.glob("config/**/*.yaml")), ids=lambda path: path.name)
def test_configurations_are_valid(path: Path) -> None:
    assert load(path).runs()


def test_the_schema_file_is_that_of_the_code() -> None:
    written = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert written == Config.model_json_schema(), "stale: run make schema"


def test_every_class_of_the_schema_is_found() -> None:
    for_steps = {name for name in vars(config) if name.endswith("Settings")}
    defined = {
        value.__name__
        for value in vars(config).values()
        if isinstance(value, type)
        and issubclass(value, BaseModel)
        and value.__module__.startswith(config.__name__)
        and not value.__subclasses__()
    }
    assert len(defined) > len(for_steps) and defined - for_steps <= set(sections())


def test_conda_environment_has_the_versions_of_the_lock() -> None:
    lock = locked_versions()
    for path in sorted(ROOT.glob("workflow/envs/*.yaml")):
        environment = yaml.safe_load(path.read_text())
        assert environment["channels"] == ["conda-forge", "nodefaults"]
        *conda, pip = environment["dependencies"]
        pins = dict(re.split("=+", pin) for pin in [*conda, *pip["pip"]] if pin != "pip")
        assert pins.pop("python") >= "3.11"
        assert pins == {name: lock.get(name) for name in pins}


def test_conda_environment_has_every_library_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", dependency)[0] for dependency in project["dependencies"]}
    needed -= {"snakemake", "snakemake-executor-plugin-slurm", "pygments"}  # of the process that starts the steps
    listed = (ROOT / "workflow/envs/medsynth.yaml").read_text()
    assert {name for name in needed if f"- {CONDA_NAMES.get(name, name)}=" not in listed} == set()
