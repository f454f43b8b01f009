"""What holds of every further form of a release: reproducible, checksummed, named, and whole where nothing was kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from medsynth import registry
from medsynth.release.release import release
from medsynth.verify.verify import verify
from tests.release.handovers.loaders import load
from tests.release.handovers.test_bids import mri
from tests.release.toys import as_files


def released(out: Path, kept: bool = True, **more: Any) -> Path:
    store, samples = mri(["t1", "FLAIR", "t1", "t1"])
    if not kept:
        samples["verdicts"] = samples["verdicts"].assign(verdict="rejected", reason="a copy")
    forms = tuple(registry.HANDOVERS)
    release(as_files(formats=("nifti",), handovers=forms, **more), store, **samples, out=out)
    return out


def test_the_programs_of_these_tests_cannot_import_medsynth(tmp_path):
    program = "try:\n    import medsynth\nexcept ImportError:\n    print('true')"
    assert load(tmp_path, program) is True


def test_same_inputs_give_the_same_bytes_in_every_form(tmp_path):
    one, two = (released(tmp_path / name) for name in ("one", "two"))
    assert (one / "SHA256SUMS").read_bytes() == (two / "SHA256SUMS").read_bytes()
    assert verify(one) == []


def test_a_release_of_nothing_is_whole_in_every_form(tmp_path):
    out = released(tmp_path / "out", kept=False)
    assert verify(out) == []
    listed = {each["@id"] for each in json.loads((out / "croissant.json").read_text())["distribution"]}
    assert listed == {path.name for path in out.iterdir()} - {"croissant.json", "SHA256SUMS", "images"}


@pytest.mark.parametrize("name", registry.HANDOVERS)
def test_the_card_and_the_page_name_each_form(tmp_path, name):
    form = registry.HANDOVERS[name].load()
    text = (released(tmp_path / "out") / "README.md").read_text()
    assert form.summary in text and (tmp_path / "out" / form.place).exists()
    assert f"| `{name}`" in (Path(__file__).parents[3] / "docs/release.md").read_text()
