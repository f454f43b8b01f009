"""metadata.csv and the schema beside it: one description of each column, true of the table, and on the page."""

import json
from pathlib import Path

import pytest

from medsynth.conditions.column import Column
from medsynth.config import columns
from medsynth.release.metadata import FIXED
from medsynth.release.release import release
from tests.release.toys import AS_PNG, make_samples, make_store, read

ROOT = Path(__file__).parents[2]


def test_the_schema_describes_every_column_in_its_order(tmp_path):
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    schema = json.loads((tmp_path / "out/metadata.schema.json").read_text())
    table = read(tmp_path / "out/metadata.csv")
    assert [field["name"] for field in schema["fields"]] == list(table.columns)
    found = {field["name"]: field for field in schema["fields"]}
    assert found["severity"]["type"] == "number"
    assert found["severity"]["constraints"] == {"minimum": -1, "maximum": 1}
    assert found["severity"]["description"] == "Requested: severity"
    assert found["predicted_pathology"]["constraints"] == {"enum": ["normal", "nodule"]}
    assert found["sample_id"]["constraints"] == {"required": True, "unique": True}
    assert schema["missingValues"] == ["", "n/a"] and schema["primaryKey"] == ["sample_id"]
    for field in schema["fields"]:
        column = Column.from_field(field)
        assert [column.problem(cell) for cell in table[column.name]] == [None] * len(table)


def test_every_column_of_a_release_beside_its_conditions_is_described():
    assert set(FIXED) == columns.RELEASED | {columns.MASK_FILE}


@pytest.mark.parametrize("name", FIXED)
def test_the_page_describes_the_columns_in_the_same_words(name):
    page = (ROOT / "docs/release.md").read_text()
    assert f"| `{name}` | {FIXED[name].description} |" in page
