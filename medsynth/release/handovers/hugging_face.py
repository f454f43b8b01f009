"""The release as Parquet, which Hugging Face `datasets`, pandas and pyarrow read without a script.

Images are structs of their file's bytes and path; the features that `datasets` decodes them by stand in the file's own
metadata. Values are those of the cells, without the apostrophe that keeps a spreadsheet from running them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from medsynth.artifacts.released import Released, rows_of
from medsynth.conditions.column import Column
from medsynth.config.columns import MASK_FILE
from medsynth.errors import InputError
from medsynth.release.formats import file_columns
from medsynth.release.handovers.form import FILES, Contents, HandOver, values_of

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = "parquet"
FILE = f"{PLACE}/images.parquet"  # `datasets` takes words such as train and test in a path for the name of a split
ROWS = 64  # of a row group: what a reader that takes single rows must hold
FEATURES, MARK = b"huggingface", b"synthetic"
DTYPES = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def write(contents: Contents) -> None:
    """Write the table with its images, a row group at a time."""
    import pyarrow.parquet as pq

    (contents.folder / PLACE).mkdir()
    schema = _schema(contents)
    with pq.ParquetWriter(contents.folder / FILE, schema, compression="zstd") as file:
        for start in range(0, len(contents.table), ROWS):
            rows = rows_of(contents.table.iloc[start : start + ROWS])
            file.write_table(_rows(contents, rows, schema))


def _image_columns(names: Iterable[Any]) -> dict[str, str]:
    """Column of the table that names a file → column of the Parquet file that holds it."""
    held = {"file_name": "image", MASK_FILE: "mask"}
    return {name: held.get(name, f"image_{name.removeprefix('file_')}") for name in FILES if name in names}


def _rows(contents: Contents, rows: list[dict[str, str]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    found = []
    for row in rows:
        files = {
            image: {"bytes": (contents.folder / row[column]).read_bytes(), "path": row[column]} if row[column] else None
            for column, image in _image_columns(row).items()
        }
        found.append(files | values_of(contents.columns, row))
    return pa.Table.from_pylist(found, schema=schema)


def _schema(contents: Contents) -> pa.Schema:
    import pyarrow as pa

    kinds = {column: contents.formats[name] for name, column in file_columns(tuple(contents.formats)).items()}
    features: dict[str, dict[str, str]] = {}
    fields = []
    for column, image in _image_columns(contents.table.columns).items():
        features[image] = {"_type": kinds.get(column, contents.first_format).feature}
        fields.append(pa.field(image, pa.struct({"bytes": pa.binary(), "path": pa.string()})))
    for each in contents.columns:
        features[each.name] = {"dtype": DTYPES[each.type], "_type": "Value"}
        fields.append(_field(each))
    info = {"features": features, "description": contents.disclaimer, "license": contents.licence.text}
    metadata = {FEATURES: json.dumps({"info": info}).encode(), MARK: contents.disclaimer.encode()}
    return pa.schema(fields, metadata=metadata)


def _field(column: Column) -> pa.Field:
    import pyarrow as pa

    kinds = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    return pa.field(column.name, kinds[DTYPES[column.type]], metadata={b"description": column.description.encode()})


def check(released: Released) -> Iterator[str]:
    """The rows are those of the table, the images those of the folder, and the file says that they are synthetic."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(released.folder / FILE)
        metadata = file.schema_arrow.metadata or {}
        if not metadata.get(MARK):
            yield f"{FILE}: does not say of itself that it is synthetic, expected the key {MARK.decode()!r}"
        if FEATURES not in metadata:
            yield f"{FILE}: has no features, by which its images are decoded"
        expected = released.rows()
        images = _image_columns(released.table.columns)
        seen: set[str] = set()
        for batch in file.iter_batches(batch_size=ROWS):
            for row in batch.to_pylist():
                seen.add(row["sample_id"])
                if row["sample_id"] in expected:
                    yield from _unlike_row(row, expected[row["sample_id"]], images, released)
        yield from released.unlike(FILE, seen)
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise InputError(f"{FILE}: cannot be read ({' '.join(str(error).split())})") from None


def _unlike_row(row: dict, cells: dict, images: dict[str, str], released: Released) -> Iterator[str]:
    for name, value in values_of(released.columns, cells).items():
        if row[name] != value:
            yield f"{FILE}: {row['sample_id']}: {name} is {row[name]!r}, metadata.csv has {value!r}"
    for column, image in images.items():
        held = hashlib.sha256(row[image]["bytes"]).hexdigest() if row[image] else ""
        if held != released.digests.get(cells[column], ""):
            yield f"{FILE}: {row['sample_id']}: {image} is not the file {cells[column]}"


PARQUET = HandOver(
    PLACE,
    f"`{FILE}`: table and images in one file, for pandas, pyarrow and Hugging Face `datasets`.",
    write,
    check,
    (FILE,),
)
