"""The Parquet file is read by pandas, pyarrow and `datasets` alone, and holds the images of the folder."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medsynth.disk.files import sha256
from medsynth.release.handovers.hugging_face import FILE, ROWS
from medsynth.release.release import release
from medsynth.verify.verify import verify
from tests.release.handovers.loaders import load
from tests.release.toys import as_files, make_samples, make_store, read, schema_of, volumes
from tests.verify.test_verify import seal

BY_PYARROW = """
import hashlib, io, pyarrow.parquet as pq
from PIL import Image
table = pq.read_table("parquet/images.parquet").to_pylist()
print(json.dumps([[row["sample_id"], row["severity"], row["synthetic"], row["image"]["path"],
    hashlib.sha256(row["image"]["bytes"]).hexdigest(), Image.open(io.BytesIO(row["image"]["bytes"])).size]
    for row in table]))
"""
BY_PANDAS = """
import pandas as pd
table = pd.read_parquet("parquet/images.parquet")
print(json.dumps([table["pathology"].tolist(), str(table["seed"].dtype), str(table["conformity"].dtype)]))
"""
BY_DATASETS = """
from datasets import load_dataset
found = load_dataset("parquet", data_files="parquet/images.parquet")
image = found["train"][0]["image"]
features = {name: str(feature) for name, feature in found["train"].features.items()}
print(json.dumps([list(found), len(found["train"]), list(image.size), list(image.getdata()), features["seed"]]))
"""
AS_FOLDER = """
from datasets import load_dataset
import os
found = load_dataset(os.getcwd())
print(json.dumps([list(found), len(found["train"]), sorted(found["train"][0])]))
"""
AS_NIFTI = """
from datasets import load_dataset
found = load_dataset("parquet", data_files="parquet/images.parquet")["train"]
print(json.dumps([list(found[0]["image"].shape), found[0]["sample_id"]]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    release(as_files(formats=("png",), handovers=("parquet",)), make_store(), **make_samples(), out=tmp_path / "out")
    return tmp_path / "out"


def test_pyarrow_finds_typed_rows_and_the_bytes_of_the_files(folder):
    rows = load(folder, BY_PYARROW, "pyarrow")
    assert [row[0] for row in rows] == [f"toy-diffusion-{number:06d}" for number in (0, 1, 3)]
    for sample_id, severity, synthetic, path, digest, size in rows:
        assert (severity, synthetic, path, size) == (-0.5, True, f"images/{sample_id}.png", [3, 2])
        assert digest == sha256(folder / path)


def test_pandas_finds_types(folder):
    assert load(folder, BY_PANDAS, "pandas") == [["normal", "nodule", "nodule"], "int64", "float64"]


def test_datasets_decodes_the_images_into_one_split(folder):
    from PIL import Image

    splits, count, size, pixels, seed = load(folder, BY_DATASETS, "datasets")
    with Image.open(folder / "images/toy-diffusion-000000.png") as png:
        assert (size, pixels) == (list(png.size), list(png.getdata()))
    assert (splits, count, seed) == (["train"], 3, "Value('int64')")


def test_datasets_finds_it_by_the_card_of_the_folder(folder):
    splits, count, names = load(folder, AS_FOLDER, "datasets")
    assert (splits, count) == (["train"], 3) and {"image", "file_name", "pathology"} <= set(names)


def test_the_folder_without_it_is_an_image_folder(tmp_path):
    release(as_files(formats=("png",), handovers=("decathlon",)), make_store(), **make_samples(), out=tmp_path / "out")
    splits, count, names = load(tmp_path / "out", AS_FOLDER, "datasets")
    assert (splits, count) == (["train"], 3) and "image" in names and "pathology" in names


def test_volumes_are_decoded_as_nifti(tmp_path):
    store, samples = volumes()
    release(as_files(formats=("nifti",), handovers=("parquet",)), store, **samples, out=tmp_path / "out")
    assert load(tmp_path / "out", AS_NIFTI, "datasets") == [[2, 3, 4], "toy-diffusion-000000"]
    assert verify(tmp_path / "out") == []


def test_masks_further_formats_and_missing_cells_are_columns_too(tmp_path):
    samples, store = make_samples(), make_store()
    samples["rows"]["mask_of"] = ["3", "", "5", "6"]
    samples["rows"]["note"] = ["=1+1", "n/a", "", "x"]
    store.info.condition_schema = schema_of(2, note={"kind": "categorical", "values": ["=1+1", "x"]})
    masks = samples["images"][:, 0].astype("uint8")
    settings = as_files(formats=("png", "nifti"), handovers=("parquet",), masks=True)
    release(settings, store, **samples, out=tmp_path / "out", masks=masks)
    rows = pq.read_table(tmp_path / "out" / FILE).to_pylist()
    assert [row["note"] for row in rows] == ["=1+1", None, "x"]
    assert [row["mask"] is None for row in rows] == [False, True, False]
    kept = read(tmp_path / "out/metadata.csv")
    assert [row["image_nifti"]["path"] for row in rows] == kept["file_nifti"].tolist()
    assert verify(tmp_path / "out") == []


def test_row_groups_are_small_and_many_rows_keep_their_order(tmp_path):
    samples = make_samples(2 * ROWS + 2)
    samples["verdicts"]["verdict"] = "kept"
    release(as_files(formats=("png",), handovers=("parquet",)), make_store(), **samples, out=tmp_path / "out")
    file = pq.ParquetFile(tmp_path / "out" / FILE)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [ROWS, ROWS, 2]
    assert file.read()["sample_id"].to_pylist() == samples["rows"]["sample_id"].tolist()


def test_no_word_of_a_path_names_a_split(folder):
    words = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}
    assert not words & set(FILE.replace("/", ".").replace("_", ".").split("."))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda table: table.slice(1), "lacks toy-diffusion-000000, which metadata.csv has"),
        (lambda table: table.replace_schema_metadata({}), "does not say of itself that it is synthetic"),
        (
            lambda table: table.set_column(table.column_names.index("severity"), "severity", [[0.25] * len(table)]),
            "toy-diffusion-000000: severity is 0.25, metadata.csv has -0.5",
        ),
        (
            lambda table: table.set_column(0, "image", [[{"bytes": b"x", "path": "p"}] * len(table)]),
            "toy-diffusion-000000: image is not the file images/toy-diffusion-000000.png",
        ),
    ],
)
def test_verify_finds_what_is_not_that_of_the_folder(folder, change, expected):
    assert verify(folder) == []
    pq.write_table(change(pq.read_table(folder / FILE)), folder / FILE)
    seal(folder)
    assert any(expected in line for line in verify(folder)), verify(folder)


def test_verify_says_where_it_cannot_be_read(folder):
    (folder / FILE).write_bytes(b"PAR1" + hashlib.sha256(b"").digest() + b"PAR1")
    seal(folder)
    assert [line.startswith(f"{FILE}: cannot be read") for line in verify(folder)] == [True]


def test_masks_of_an_image_folder_are_images_too(tmp_path):
    samples = make_samples()
    samples["rows"]["mask_of"] = "3"
    settings = as_files(formats=("png",), masks=True)
    release(settings, make_store(), **samples, out=tmp_path / "out", masks=samples["images"][:, 0].astype("uint8"))
    splits, count, names = load(tmp_path / "out", AS_FOLDER, "datasets")
    assert (splits, count) == (["train"], 3) and {"image", "mask"} <= set(names)
