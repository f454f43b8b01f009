"""A column's description: which cells it allows, and that it comes back from the field of a schema."""

import json

import pytest

from medsynth import registry
from medsynth.conditions.column import Column
from medsynth.conditions.schema import ConditionSchema

SHARE = Column("share", "number", "a share", minimum=0, maximum=1)


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        (SHARE, "0.5", None),
        (SHARE, "", None),
        (SHARE, "n/a", None),
        (SHARE, "1.5", "expected at most 1"),
        (SHARE, "-0.1", "expected at least 0"),
        (SHARE, "1.000001", None),  # rounded when it was written
        (SHARE, "half", "expected number"),
        (SHARE, "nan", "expected a finite number"),
        (Column("seed", "integer", "a seed", required=True), "1.0", "expected integer"),
        (Column("seed", "integer", "a seed", required=True), "", "expected a value"),
        (Column("synthetic", "boolean", "always", ("true",)), "false", "expected true"),
        (Column("synthetic", "boolean", "always", ("true",)), "yes", "expected boolean"),
        (Column("class", "string", "a class", ("=x", "y")), "=x", None),
        (Column("class", "string", "a class", ("=x", "y")), "z", "expected =x or y"),
        (Column("digest", "string", "a digest", pattern="[0-9a-f]{4}"), "00fg", "expected the form [0-9a-f]{4}"),
    ],
)
def test_which_cells_are_allowed(column, cell, problem):
    assert column.problem(cell) == problem
    assert Column.from_field(json.loads(json.dumps(column.field()))) == column


def test_values_have_their_type():
    assert SHARE.value("0.25") == 0.25 and SHARE.value("n/a") is None
    assert Column("seed", "integer", "").value(str(2**63 - 1)) == 2**63 - 1
    assert Column("synthetic", "boolean", "").value("true") is True


def test_a_field_is_one_of_a_table_schema():
    column = Column("class", "string", "a class", ("=x", "y"), required=True, unit="")
    assert column.field() == {
        "name": "class",
        "type": "string",
        "description": "a class",
        "constraints": {"required": True, "enum": ["'=x", "y"]},  # as the file's cells have them
    }


FIELDS = {
    "pathology": {"kind": "categorical", "values": ["normal", "nodule"]},
    "grade": {"kind": "ordinal", "values": ["a", "b", "c"]},
    "age_years": {"kind": "number", "range": [0, 100], "unit": "years"},
    "findings": {"kind": "multi_label", "values": ["=a", "b.c"], "none": "none of them"},
    "lesion": {"kind": "lesions", "most": 2, "graded": True, "kinds": ["cyst", "mass"]},
    "structures": {"kind": "mask"},
}
CELLS = [
    ("pathology", "nodule", "b"),
    ("grade", "c", "d"),
    ("age_years", "100", "101"),
    ("findings", "=a|b.c", "bxc"),
    ("findings", "none of them", "none of them|b.c"),
    ("lesion_1_x", "0.5", "1.5"),
    ("lesion_2_size", "n/a", "big"),
    ("lesion_2_severity", "1", "2"),
    ("lesion_2_kind", "mass", "x"),
]


@pytest.fixture
def schema() -> ConditionSchema:
    fields = {name: registry.CONDITIONS[of["kind"]].load_settings()(**of) for name, of in FIELDS.items()}
    return ConditionSchema(fields, 2)


@pytest.mark.parametrize(("name", "good", "bad"), CELLS)
def test_each_kind_describes_its_columns_and_allows_the_cells_that_it_takes(schema, name, good, bad):
    column = schema.of_column[name].describe(name)
    assert column.name == name and column.problem(good) is None and column.problem(bad) is not None
    assert schema.check(name, good) is None and schema.check(name, bad) is not None


def test_every_column_of_every_kind_is_described(schema):
    described = [schema.of_column[name].describe(name) for name in schema.columns]
    assert [column.name for column in described] == list(schema.columns) and {name for name, _, _ in CELLS} < set(
        schema.columns
    )
    assert all(column.description for column in described)
    assert schema.of_column["lesion_2_y"].describe("lesion_2_y").description == (
        "lesion: place from the first row, as a fraction of the image's height"
    )


def test_what_is_read_has_no_range_and_its_own_name():
    read = SHARE.predicted()
    assert (read.name, read.minimum, read.problem("1.5")) == ("predicted_share", None, None)
    assert read.description == "Read from the image by an independent reader: a share"
