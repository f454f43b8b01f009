"""Tables of the columns of metrics.csv come together in one frame, each line once."""

from pathlib import Path

import pytest

from medsynth.artifacts import measured
from medsynth.errors import InputError

HEADER = ",".join(measured.REQUIRED)


def table(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_lines_of_all_tables_come_in_order_and_what_a_table_lacks_is_empty(tmp_path: Path) -> None:
    first = table(tmp_path / "metrics.csv", "kid,all,0.1,0,0.2,0,50,100,,a_net", header=f"{HEADER},extractor")
    second = table(tmp_path / "gain.csv", "utility_auroc_gain,all,0.01,-0.01,0.03,,50,100,a note")
    found = measured.read([first, second])
    assert found["metric"].tolist() == ["kid", "utility_auroc_gain"] and found["extractor"].tolist() == ["a_net", ""]
    assert found.columns.tolist() == list(measured.COLUMNS)
    numbers = measured.with_numbers(found, "x")
    assert numbers["ci_low"].tolist() == [0, -0.01] and numbers["floor"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kid,all,much,0,0.2,0,50,100,", r"gain.csv: damaged \(.*much.*\); remove it and make it again"),
        ("kid,all,0.2,0,0.2,0,50,100,", r"gain.csv: kid of all stands in it or in a table before it, expected it once"),
    ],
)
def test_a_bad_line_is_refused_by_the_name_of_its_table(tmp_path: Path, line: str, said: str) -> None:
    first = table(tmp_path / "metrics.csv", "kid,all,0.1,0,0.2,0,50,100,")
    with pytest.raises(InputError, match=said):
        measured.read([first, table(tmp_path / "gain.csv", line)])
    with pytest.raises(InputError, match=r"other.csv: damaged \(no column 'metric'\)"):
        measured.read([first, table(tmp_path / "other.csv", "1", header="a")])


def test_a_table_has_a_row_for_each_line_and_its_columns_without_any() -> None:
    rows = [
        measured.Row("kid", "all", 0.5, 0.25, 0.75, 0.0, 10, 20, False),
        measured.Row("kept_rate", "x=a", 1, 1, 1, 1, 2, 3, True, "n", "e"),
    ]
    made = measured.as_table(rows)
    assert made.columns.tolist() == measured.as_table([]).columns.tolist() == list(measured.COLUMNS)
    assert made.iloc[0].tolist() == ["kid", "all", 0.5, 0.25, 0.75, 0.0, 10, 20, False, "", ""]
    assert made.iloc[1][["group", "note", "extractor"]].tolist() == ["x=a", "n", "e"]
