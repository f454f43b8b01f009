"""A released folder that was changed after it was handed over is found, each change by its own line."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from medsynth.cli import main
from medsynth.disk.files import sha256
from medsynth.errors import InputError
from medsynth.release.release import release
from medsynth.verify.verify import counts, verify
from tests.release.toys import AS_PNG, as_files, make_samples, make_store, volumes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    return tmp_path / "out"


def seal(folder: Path) -> None:
    """Checksums of the files as they are now."""
    present = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{sha256(p)}  {p.relative_to(folder).as_posix()}\n" for p in present))


def change(folder: Path, name: str, **cells: str) -> None:
    """Set cells of the first row of a table."""
    table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
    for column, value in cells.items():
        table.loc[0, column] = value
    table.to_csv(folder / name, index=False)
    seal(folder)


def test_a_folder_as_it_was_released_is_whole(folder, capsys):
    assert verify(folder) == []
    assert counts(folder) == f"{folder}: whole, 3 images kept, 1 rejected"
    main(["verify", str(folder)])
    assert capsys.readouterr().out == f"{folder}: whole, 3 images kept, 1 rejected\n"


def test_volumes_are_checked_alike(tmp_path):
    store, samples = volumes()
    release(as_files(formats=("nifti",)), store, **samples, out=tmp_path / "out")
    assert verify(tmp_path / "out") == []
    page = tmp_path / "out/volumes.html"
    page.write_text(page.read_text().replace('"toy-diffusion-000003"', '"toy-diffusion-000009"'))
    seal(tmp_path / "out")
    assert verify(tmp_path / "out") == ["volumes.html: shows other samples than metadata.csv has"]


def test_a_changed_missing_or_added_file_is_named(folder, capsys):
    image = sorted((folder / "images").iterdir())[0]
    with (folder / "generator.json").open("a") as file:
        file.write(" ")
    image.unlink()
    (folder / "images/extra.txt").write_text("")
    found = verify(folder)
    assert f"images/{image.name}: named in SHA256SUMS, and not there" in found
    assert "images/extra.txt: not named in SHA256SUMS" in found
    assert any(line.startswith("generator.json: sha256 is ") for line in found)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder)])
    assert f"medsynth verify: {folder}: images/extra.txt: not named" in str(ended.value.code)


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("metadata.csv", {"verdict": "rejected"}, "metadata.csv: toy-diffusion-000000 is not kept"),
        ("metadata.csv", {"synthetic": ""}, "metadata.csv: toy-diffusion-000000 is not marked as synthetic"),
        ("metadata.csv", {"conformity": "1.5"}, "conformity is '1.5', expected at most 1"),
        ("metadata.csv", {"generator_sha256": "x"}, "generator_sha256 is no SHA-256"),
        ("metadata.csv", {"sample_id": "toy-diffusion-000001"}, "toy-diffusion-000001 stands twice"),
        ("metadata.csv", {"file_name": "images/none.png"}, "images/none.png: named by toy-diffusion-000000, and not"),
        ("metadata.csv", {"file_name": "images/none.png"}, "toy-diffusion-000000.png: no row of metadata.csv names it"),
        ("rejected.csv", {"sample_id": "toy-diffusion-000000"}, "toy-diffusion-000000 is in metadata.csv too"),
        ("rejected.csv", {"reason": ""}, "rejected.csv: toy-diffusion-000002 has no reason"),
        ("rejected.csv", {"seed": "7"}, "rejected.csv: has the column seed"),
        ("real_split.csv", {"split": "holdout"}, "split is none of train, val and test"),
        ("real_split.csv", {"sha256": "7" * 64}, "is in more than one split"),
        (
            "gates.csv",
            {"result": "good"},
            "integrity: result is good, expected pass or fail or insufficient",
        ),
        ("gates.csv", {"result": "fail"}, "gates.csv: gate integrity failed: verdicts: ; this gate is never waived"),
    ],
)
def test_a_table_that_is_not_true_is_found_though_its_checksum_is(folder, name, cells, expected):
    change(folder, name, **cells)
    assert any(expected in line for line in verify(folder)), verify(folder)


def test_an_image_without_its_mark_is_found(folder):
    from PIL import Image

    path = sorted((folder / "images").iterdir())[0]
    with Image.open(path) as picture:
        picture.save(path)  # drops the text
    seal(folder)
    found = verify(folder)
    assert any("does not say of itself that it is synthetic" in line for line in found)
    assert any("does not name its sample toy-diffusion-000000" in line for line in found)


def test_an_image_that_cannot_be_read_or_has_another_shape_is_found(folder):
    first, second, _ = sorted((folder / "images").iterdir())
    first.write_bytes(b"no image")
    other = folder.with_name("other")
    samples = make_samples()
    samples["images"] = samples["images"][:, :, :1]
    store = make_store()
    store.info.size = (1, 3)
    release(AS_PNG, store, **samples, out=other)
    shutil.copyfile(other / "images" / second.name, second)
    seal(folder)
    found = verify(folder)
    assert any(line.startswith(f"images/{first.name}: cannot be read") for line in found)
    assert any(line.startswith("images of 2 shapes, expected one") for line in found)


def test_settings_that_are_not_those_of_the_rows_are_found(folder):
    (folder / "generator.json").write_text("{}")
    seal(folder)
    assert verify(folder) == ["generator.json: is not the file whose digest metadata.csv has as config_sha256"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda schema: schema["fields"].pop(),
            "schema.json: describes other columns than metadata.csv has: ",
        ),
        (lambda schema: schema["fields"].reverse(), "than metadata.csv has: in another order"),
        (lambda schema: schema["fields"][0].pop("type"), "metadata.schema.json: is no schema of a table (KeyError: 't"),
        (lambda schema: schema["fields"][0].update(type="x"), "is no schema of a table (TypeError: type 'x')"),
        (lambda schema: schema["fields"][0].update(description=""), "file_name has no description"),
    ],
)
def test_a_schema_that_is_not_that_of_the_table_is_found(folder, change, expected):
    schema = json.loads((folder / "metadata.schema.json").read_text())
    change(schema)
    (folder / "metadata.schema.json").write_text(json.dumps(schema))
    seal(folder)
    assert len(found := verify(folder)) == 1 and expected in found[0], found


def test_of_many_cells_that_are_not_as_described_a_few_are_told(tmp_path):
    samples = make_samples(10)
    samples["verdicts"]["verdict"] = "kept"
    samples["rows"]["severity"] = "9"
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    *told, rest = verify(tmp_path / "out")
    assert len(told) == 5 and told[0] == "metadata.csv: toy-diffusion-000000: severity is '9', expected at most 1"
    assert rest == "metadata.csv: severity: 5 more cells are not as metadata.schema.json describes them"


def test_what_is_no_release_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no SHA256SUMS, expected a folder that release wrote"):
        verify(tmp_path)
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  ../secret\n")
    with pytest.raises(InputError, match="line 1 is not a digest and a file below the folder"):
        verify(folder)
    (folder / "README.md").unlink()
    seal(folder)
    assert verify(folder) == ["README.md: missing"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('"toy-diffusion-000003"', '"toy-diffusion-000009"', "gallery.html: shows other samples than metadata.csv has"),
        ('"of_row":null', '"of_row":[0,0,0]', "gallery.html: shows training images beside the samples"),
        ('"rows":', '"lines":', "gallery.html: not the data of a page (KeyError('rows'))"),
        ('id="data"', "", "gallery.html: its data cannot be read (Expecting value: line 1 column 1 (char 0))"),
    ],
)
def test_a_gallery_of_other_images_is_found(folder, before, after, expected):
    page = folder / "gallery.html"
    text = page.read_text()
    assert before in text
    page.write_text(text.replace(before, after))
    seal(folder)
    assert verify(folder) == [expected]
