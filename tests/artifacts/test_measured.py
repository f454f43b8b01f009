"""Lines of metrics as a table: the columns that gates read, in their order."""

from medsynth.artifacts.measured import Row, as_table
from medsynth.cli import METRICS


def test_a_table_has_the_columns_that_are_read_and_a_row_for_each_line():
    rows = [
        Row("kid", "all", 0.5, 0.25, 0.75, 0.0, 10, 20, False),
        Row("kept_rate", "x=a", 1, 1, 1, 1, 2, 3, True, "n", "e"),
    ]
    table = as_table(rows)
    assert set(table.columns) == set(METRICS) and list(as_table([]).columns) == list(table.columns)
    assert table.iloc[0].tolist() == ["kid", "all", 0.5, 0.25, 0.75, 0.0, 10, 20, False, "", ""]
    assert table.iloc[1][["group", "note", "extractor"]].tolist() == ["x=a", "n", "e"]
