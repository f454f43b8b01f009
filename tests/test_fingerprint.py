"""Which modules a step's digest covers, read from the source alone."""

import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any, get_args

import pytest

from medsynth import config, fingerprint, registry
from medsynth.config.families.diffusion import DiffusionSampler, Stage

SOURCES = {
    "__init__.py": "",
    "config.py": "import medsynth.unused",
    "unused.py": "",
    "step.py": "from medsynth import config\nfrom medsynth.table import ROWS\ndef go():\n    import medsynth.lazy\n",
    "lazy.py": "from .kinds.one import go",
    "table.py": "from medsynth.kinds import one as first, NAME\nimport numpy",
    "kinds/__init__.py": "NAME = 1",
    "kinds/one.py": "from . import two\nfrom ..deep import x",
    "kinds/two.py": "import typing\nif typing.TYPE_CHECKING:\n  import medsynth.hint\nelse:\n  import medsynth.real",
    "hint.py": "",
    "real.py": "import medsynth.step  # a circle",
    "deep.py": "x = 'medsynth.hint'",
    "cli.py": "import medsynth.hint\ndef go():\n  from medsynth.step import go\ndef far():\n  import medsynth.deep",
    "other.py": "from medsynth import lazy",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    fingerprint._names_of.cache_clear()
    yield tmp_path
    fingerprint._names_of.cache_clear()


def test_walks_lazy_relative_and_circular_imports_but_no_type_hints(package: Path) -> None:
    expected = {"step", "table", "lazy", "kinds", "kinds.one", "kinds.two", "real", "deep"}
    assert fingerprint.modules(fingerprint.roots("go")) == {f"medsynth.{name}" for name in expected}


@pytest.mark.parametrize("name", SOURCES)
def test_editing_a_module_changes_the_digest_of_the_steps_that_use_it_alone(package: Path, name: str) -> None:
    before = {step: fingerprint.fingerprint(step) for step in ("go", "far")}
    (package / name).write_text(SOURCES[name] + "\n# edited")
    fingerprint._names_of.cache_clear()
    after = {step: fingerprint.fingerprint(step) for step in ("go", "far")}
    used = name not in ("__init__.py", "config.py", "unused.py", "hint.py", "other.py", "cli.py")
    assert (before["go"] != after["go"]) == used
    assert (before["far"] != after["far"]) == (name == "deep.py")


def test_the_templates_beside_a_module_are_part_of_it(package: Path) -> None:
    digests = [fingerprint.fingerprint("go")]
    for name in ("two.html", "two.css", "two.js"):
        (package / "kinds" / name).write_text("<p>")
        digests.append(fingerprint.fingerprint("go"))
    assert len(set(digests)) == 4


def test_step_without_a_command_is_an_error(package: Path) -> None:
    with pytest.raises(KeyError, match="absent"):
        fingerprint.fingerprint("absent")


@pytest.mark.parametrize(
    ("step", "used", "unused"),
    [
        ("prepare", "images.geometry", "train.loop"),
        ("train", "models.checkpoint", "models.families.diffusion"),
        ("tune", "judges.reader", "evaluate.evaluate"),
        ("sample", "models.checkpoint", "train.loop"),
        ("evaluate", "judges.copies", "models.checkpoint"),
        ("membership", "models.checkpoint", "train.trainer"),
        ("gates", "gates.thresholds", "evaluate.evaluate"),
        ("browse", "pages.gallery", "release.release"),
        ("release", "release.card", "evaluate.evaluate"),
        ("track", "track.results", "release.release"),
        ("vary", "config.along", "config.education"),
        ("educate", "config.columns", "config.along"),
    ],
)
def test_the_steps_of_this_package(step: str, used: str, unused: str) -> None:
    covered = fingerprint.modules(fingerprint.roots(step))
    assert f"medsynth.{used}" in covered and f"medsynth.{unused}" not in covered


def test_what_a_run_chose_is_followed_and_no_other_family() -> None:
    of_family = fingerprint.modules(("medsynth.models.families.diffusion",))
    assert "medsynth.models.diffusion.solvers" in of_family
    assert "medsynth.models.families.consistency" not in of_family
    teacher, student = ([registry.FAMILIES[name]] for name in ("diffusion", "consistency"))
    digests = {fingerprint.fingerprint("train", chosen) for chosen in ([], teacher, student)}
    assert len(digests) == 3 and fingerprint.fingerprint("train", teacher) in digests


def test_another_object_of_the_same_module_is_another_digest() -> None:
    one, other = ([registry.METRICS[name]] for name in ("kid", "fid"))
    assert one[0].module == other[0].module
    assert fingerprint.fingerprint("evaluate", one) != fingerprint.fingerprint("evaluate", other)


def test_another_version_of_a_library_is_another_digest(monkeypatch) -> None:
    assert fingerprint.libraries("medsynth.artifacts.tensors") == {"safetensors", "torch"}
    before = {step: fingerprint.fingerprint(step) for step in ("train", "track")}
    whole = fingerprint._version
    monkeypatch.setattr(fingerprint, "_version", lambda name: "0" if name == "safetensors" else whole(name))
    assert fingerprint.fingerprint("train") != before["train"] and fingerprint.fingerprint("track") == before["track"]


def test_every_entry_of_the_registry_is_there() -> None:
    tables = [value for value in vars(registry).values() if isinstance(value, dict)]
    entries = [entry for table in tables for entry in table.values() if isinstance(entry, registry.Entry)]
    assert len(entries) > 10
    for entry in entries:
        assert entry.load() is not None
        assert not entry.settings or isinstance(entry.load_settings(), type)


def sections(annotation: Any) -> set[type]:
    """The classes of the configuration that an annotation holds."""
    found = {annotation} if isinstance(annotation, type) and issubclass(annotation, config.Strict) else set()
    inner = [field.annotation for section in found for field in section.model_fields.values()]
    return found.union(*map(sections, [*inner, *get_args(annotation)]))


def test_settings_of_a_step_decide_nothing_by_themselves() -> None:
    """Their modules are in no digest: a method that a step calls could change and rerun nothing."""
    steps = (config.PrepareSettings, config.TrainSettings, config.TuneSettings, config.SampleSettings)
    steps += (config.EvaluateSettings, config.GatesSettings)
    used = set().union(*map(sections, steps))
    assert {DiffusionSampler, Stage, config.Split, config.Number, config.PlanTable} <= used
    structural = {"columns", "misfit", "cost", "check_parents", "entries", "trained_by", "candidates", "fields", "base"}
    structural |= {"of_latents", "misfit_of"}  # settings of a part
    structural |= {"for_images", "stages_of", "needs"}  # written out in the settings of a step
    behaviour = FunctionType | property | classmethod | staticmethod
    public = [(section, name, value) for section in used for name, value in vars(section).items() if name[0] != "_"]
    assert [
        f"{section.__name__}.{name}"
        for section, name, value in public
        if isinstance(value, behaviour) and name not in structural
    ] == []


def test_costs_no_heavy_import() -> None:
    program = (
        "import sys, medsynth.fingerprint as f; f.fingerprint('train')\n"
        "sys.exit(str({'torch', 'pandas', 'numpy', 'mlflow'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == ""
