"""The description validates by `mlcroissant`, and says of the files what they are."""

import json
from pathlib import Path

import pytest

from medsynth.disk.files import sha256
from medsynth.release.release import release
from medsynth.verify.verify import verify
from tests.release.handovers.loaders import load
from tests.release.toys import DATA, WEIGHTS, as_files, make_samples, make_store, read
from tests.verify.test_verify import seal

BY_MLCROISSANT = """
import logging
logging.disable(logging.WARNING)
import mlcroissant
dataset = mlcroissant.Dataset("croissant.json")
rows = [{name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
    for row in dataset.records("samples")]
issues = dataset.metadata.ctx.issues
found = dataset.metadata
print(json.dumps([sorted(issues.errors), rows, found.data_limitations, found.personal_sensitive_information,
    [str(licence) for licence in found.license]]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = as_files(formats=("png",), handovers=("croissant", "parquet"), citation="Doe 2020")
    release(settings, make_store(), **make_samples(), out=tmp_path / "out")
    return tmp_path / "out"


def test_mlcroissant_finds_no_error_and_reads_the_rows(folder):
    errors, rows, limits, sensitive, licence = load(folder, BY_MLCROISSANT, "mlcroissant")
    assert errors == [] and licence == ["https://spdx.org/licenses/CC0-1.0.html"]
    assert [row["samples/sample_id"] for row in rows] == [f"toy-diffusion-{number:06d}" for number in (0, 1, 3)]
    assert (rows[0]["samples/severity"], rows[0]["samples/synthetic"], rows[0]["samples/seed"]) == (-0.5, True, 0)
    assert "not what a reader found" in str(limits) and "images of patients" in str(sensitive)


def test_files_columns_and_origin_are_those_of_the_folder(folder):
    found = json.loads((folder / "croissant.json").read_text())
    files = {each["@id"]: each for each in found["distribution"]}
    own = {path.name for path in folder.iterdir()} - {"croissant.json", "SHA256SUMS"}
    assert set(files) == own and {"images", "parquet", "README.md"} < own
    for path in folder.iterdir():
        if path.is_file() and path.name in files:
            assert files[path.name]["sha256"] == sha256(path)
            assert files[path.name]["contentSize"] == f"{path.stat().st_size} B"
    assert files["images"]["includes"] == "images/**" and files["images"]["encodingFormat"] == "image/png"
    fields = {field["name"]: field for field in found["recordSet"][0]["field"]}
    assert list(fields) == list(read(folder / "metadata.csv").columns)
    assert fields["severity"]["dataType"] == "sc:Float" and fields["severity"]["description"] == "Requested: severity"
    generator, settings = found["prov:wasGeneratedBy"]["prov:used"]
    assert (
        generator["@id"] == f"urn:sha256:{WEIGHTS}"
        and settings["@id"] == f"urn:sha256:{sha256(folder / 'generator.json')}"
    )
    assert generator["prov:wasDerivedFrom"]["@id"] == f"urn:sha256:{DATA}"
    assert "Doe 2020" in found["citeAs"] and "synthetic" in found["keywords"]


def test_of_simulated_training_images_it_says_that_no_patient_is_in_them(tmp_path):
    store = make_store()
    store.info.simulated = True
    release(as_files(formats=("png",), handovers=("croissant",)), store, **make_samples(), out=tmp_path / "out")
    found = json.loads((tmp_path / "out/croissant.json").read_text())
    assert found["rai:personalSensitiveInformation"].startswith("None: the training images were simulated")
    assert "trained on simulated images" in found["rai:dataCollection"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda found: found["distribution"].pop(0), "does not list README.md"),
        (lambda found: found["distribution"][0].update(sha256="0" * 64), "README.md has another sha256"),
        (lambda found: found.update(keywords=[]), "does not say of itself that it is synthetic"),
        (lambda found: found.update(license=""), "states no licence"),
        (lambda found: found["recordSet"][0]["field"][1].update(dataType="sc:Date"), "the column sample_id as"),
        (lambda found: found["prov:wasGeneratedBy"]["prov:used"].pop(), "another generator or other settings"),
        (lambda found: found.pop("recordSet"), "does not describe a release (KeyError: 'recordSet')"),
    ],
)
def test_verify_finds_what_is_not_that_of_the_folder(folder, change, expected):
    assert verify(folder) == []
    found = json.loads((folder / "croissant.json").read_text())
    change(found)
    (folder / "croissant.json").write_text(json.dumps(found))
    seal(folder)
    assert any(expected in line for line in verify(folder)), verify(folder)
