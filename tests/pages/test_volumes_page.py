"""volumes.html: what it holds, and that NiiVue shows it in Chromium without a network or a graphics card.

Those tests need NiiVue: `make viewer`, or MEDSYNTH_TEST_NIIVUE, the file that `npm pack @niivue/niivue` wrote.
"""

import base64
import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest

from medsynth.errors import InputError
from medsynth.pages import niivue, volumes
from medsynth.pages.template import held

EVIL = "</script><img src=x onerror=document.title='evil'>"
INFO = SimpleNamespace(
    dataset="toy", label="pathology", simulated=False, unit="HU", structures={"body": 1, "lesion": 2}
)
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


def nifti(voxels: np.ndarray) -> bytes:
    return nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three volumes of 24 voxels a side, a bright ball in each; the first two have masks."""
    radius = ((np.indices((24, 24, 24)) - 11.5) ** 2).sum(0) ** 0.5
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        ball = (radius < 6 + number).astype(np.int16)
        (tmp_path / f"images/d-m-{number}.nii").write_bytes(nifti(ball * 400 - 200))
        if number < 2:
            (tmp_path / f"masks/d-m-{number}.nii").write_bytes(nifti(((radius < 10) + ball).astype(np.uint8)))
    return tmp_path


def table() -> pd.DataFrame:
    numbers = range(3)
    return pd.DataFrame(
        {
            "file_name": [f"images/d-m-{number}.nii" for number in numbers],
            "mask_file_name": ["masks/d-m-0.nii", "masks/d-m-1.nii", ""],
            "sample_id": [f"d-m-{number}" for number in numbers],
            "pathology": ["lesion", EVIL, "normal"],
            "predicted_pathology": ["lesion", "normal", "normal"],
        }
    )


def page(folder: Path, viewer: str | None) -> Path:
    text = volumes.volumes(INFO, table(), "file_name", folder, viewer)
    (folder / volumes.FILE).write_text(text, encoding="utf-8")
    return folder / volumes.FILE


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch) -> str:
    if given := os.environ.get("MEDSYNTH_TEST_NIIVUE"):
        monkeypatch.setattr(niivue, "place", lambda: tmp_path / "share" / "niivue.js")
        niivue.install(Path(given))
    found = niivue.installed()
    if found is None:
        pytest.skip("NiiVue is not installed: `make viewer`, or MEDSYNTH_TEST_NIIVUE")
    return found


def test_the_page_holds_the_files_as_they_are(folder: Path) -> None:
    data = held(page(folder, "library();"))
    assert {name: base64.b64decode(text) for name, text in data["volumes"].items()} == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*.nii"))
    }
    assert [part["number"] for part in data["structures"]] == [1, 2]
    assert len({part["colour"] for part in data["structures"]}) == 2


def test_volumes_are_embedded_as_far_as_they_have_room(folder: Path, monkeypatch) -> None:
    of_one = sum(len(base64.b64encode((folder / name / "d-m-0.nii").read_bytes())) for name in ("images", "masks"))
    monkeypatch.setattr(volumes, "MOST_CHARACTERS", 2 * of_one - 1)
    assert set(held(page(folder, "library();"))["volumes"]) == {"images/d-m-0.nii", "masks/d-m-0.nii"}


def package(path: Path, content: bytes, name: str = niivue.MEMBER) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_the_bundle_is_installed_by_its_digest_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(niivue, "place", lambda: tmp_path / "share/niivue.js")
    assert niivue.installed() is None
    with pytest.raises(
        InputError, match=r"other\.tgz: package/dist/niivue\.umd\.js: sha256 is .*, expected 47b896b77ec4"
    ):
        niivue.install(package(tmp_path / "other.tgz", b"other"))
    with pytest.raises(InputError, match=r"none\.tgz: cannot be read .*, expected the npm package @niivue/niivue"):
        niivue.install(package(tmp_path / "none.tgz", b"", "package/index.js"))
    (tmp_path / "text.tgz").write_text("no archive")
    with pytest.raises(InputError, match=r"text\.tgz: cannot be read"):
        niivue.install(tmp_path / "text.tgz")
    assert niivue.installed() is None
    monkeypatch.setattr(niivue, "SHA256", "2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df")
    assert niivue.install(package(tmp_path / "right.tgz", b"ok")) == tmp_path / "share/niivue.js"
    found = niivue.installed()
    assert found is not None and found.endswith("*/\nok") and "Redistributions in binary form" in found
    niivue.place().write_text("damaged")
    with pytest.raises(InputError, match=r"remove it and run `make viewer`: sha256 is"):
        niivue.installed()


def test_the_makefile_takes_this_version() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert f"@niivue/niivue@{niivue.VERSION}\n" in makefile and f"niivue-niivue-{niivue.VERSION}.tgz\n" in makefile
    assert f"NiiVue {niivue.VERSION}," in niivue.NOTICE.read_text()


@pytest.mark.slow
def test_without_the_viewer_the_page_says_so_and_lists_the_volumes(look, folder: Path) -> None:
    seen = look(page(folder, None), "find=lesion")
    assert seen.text("problem").startswith("NiiVue, the viewer of volumes, was not installed")
    assert seen.text("count") == "1 of 3 volumes" and "data-shown" not in seen.dom
    assert seen.all(r'data-row="(\d)"') == ["0"] and seen.console == []
    assert held(folder / volumes.FILE)["volumes"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_volume_is_shown_without_a_network(look, folder: Path, viewer: str, number: int) -> None:
    seen = look(page(folder, viewer), f"open=d-m-{number}", *WEBGL)
    assert seen.text("problem") == "" and seen.all(r'data-shown="([^"]*)"') == [f"d-m-{number}"]
    assert seen.text("lowest") == "-200" and seen.text("highest") == "200"
    assert seen.all(r'id="overlay"( hidden="")?>') == (["", "", ' hidden=""'][number : number + 1])
    assert seen.all("<title>(.*?)</title>")[0] == "d-m: synthetic volumes"
    assert "<img" not in seen.dom.partition("<script>")[0]  # before the library
    assert [line for line in seen.console if "niivue-info" not in line] == []


@pytest.mark.slow
def test_a_volume_that_has_no_room_is_said(look, folder: Path, viewer: str, monkeypatch) -> None:
    monkeypatch.setattr(volumes, "MOST_CHARACTERS", 0)
    seen = look(page(folder, viewer), "", *WEBGL)
    assert seen.text("problem").startswith("images/d-m-0.nii is not in this page")
    assert "python -m http.server" in seen.text("problem") and "data-shown" not in seen.dom
