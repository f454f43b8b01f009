"""The columns of metadata.csv and what they mean, from which its schema, Croissant, Parquet and the page are made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from medsynth.conditions.column import MISSING_VALUES, Column
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.columns import DIGESTS, FURTHER_FILES, MASK_FILE, PREDICTED

SCHEMA = "metadata.schema.json"
PROFILE = "https://datapackage.org/profiles/2.0/tableschema.json"
SHA256 = "[0-9a-f]{64}"
OF_DIGESTS = (
    "SHA-256 of the generator's weights",
    "SHA-256 of generator.json, the settings that the generator was trained and sampled with",
    "SHA-256 of the training data",
)
# Beside the conditions and what is read of them.
FIXED = {
    column.name: column
    for column in (
        Column("file_name", "string", "The image, in the dataset's first format", required=True, unique=True),
        *(
            Column(name, "string", f"The same image as {form}", required=True, unique=True)
            for form, name in FURTHER_FILES.items()
        ),
        Column(MASK_FILE, "string", "The label map that the image was asked for by; empty where there was none"),
        Column("sample_id", "string", "Names the sample, `<dataset>-<model>-<number>`", required=True, unique=True),
        Column("seed", "integer", "Of the sample's noise: with the generator it makes the image again", required=True),
        Column(
            "requested_probability",
            "number",
            "The reader's probability of the requested class",
            minimum=0,
            maximum=1,
        ),
        Column(
            "conformity",
            "number",
            "Conformal p-value of the requested class: the share of real images of it that are read as uncertainly",
            minimum=0,
            maximum=1,
        ),
        Column("misread_check", "string", "`on`, or why the image was not checked to show the requested class"),
        Column("nearest_similarity", "number", "Likeness to the nearest training image", minimum=-1, maximum=1),
        Column("verdict", "string", "`kept`: other samples are in rejected.csv", ("kept",), required=True),
        Column("reason", "string", "Why a sample was not kept; empty here"),
        Column("rescale_slope", "number", "Of a PNG: value * slope + intercept is the intensity", required=True),
        Column("rescale_intercept", "number", "Of a PNG: value * slope + intercept is the intensity", required=True),
        *(
            Column(name, "string", description, pattern=SHA256, required=True)
            for name, description in zip(DIGESTS, OF_DIGESTS, strict=True)
        ),
        Column("synthetic", "boolean", "Always true: no image was acquired", ("true",), required=True),
    )
}


def describe(names: Iterable[str], schema: ConditionSchema) -> Iterator[Column]:
    """The columns of a released table, by their names.

    Raises:
        KeyError: a column that nothing describes.
    """
    for name in names:
        if name in FIXED:
            yield FIXED[name]
            continue
        column = name.removeprefix(PREDICTED)
        asked = schema.of_column[column].describe(column)
        yield asked.requested() if name == column else asked.predicted()


def schema_text(columns: Iterable[Column]) -> str:
    """The text of metadata.schema.json."""
    schema = {
        "$schema": PROFILE,
        "fields": [column.field() for column in columns],
        "missingValues": list(MISSING_VALUES),
        "primaryKey": ["sample_id"],
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
