"""Written CSVs: nothing in them runs in a spreadsheet, numbers stay numbers, and all text comes back."""

import ast
import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medsynth.disk import tables
from medsynth.errors import InputError

PACKAGE = Path(__file__).parents[2] / "medsynth"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
LEADING = st.text("=+-@\t\r\n' ＝5.e", max_size=6)  # noqa: RUF001


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1", "'+49 30 1"),
        ("-lesion", "'-lesion"),
        ("-1-1", "'-1-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\nx", "'\nx"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ("'=1", "''=1"),
        ("-0.5", "-0.5"),
        ("+.5e-3", "+.5e-3"),
        ("-٣", "'-٣"),
        ("'tis", "'tis"),
        ("a=1", "a=1"),
        ("", ""),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_formulas_are_marked_and_numbers_are_not(cell, written):
    assert tables.harmless(cell) == written
    if isinstance(cell, str):
        assert tables.as_it_was(written) == cell


@given(st.lists(st.tuples(TEXT | LEADING, TEXT | LEADING), min_size=1, max_size=5))
@example([("'-5", "-5"), ("''=", "'"), ("a\rb", '"'), ("\ufeff=", "nan")])
def test_every_text_comes_back_and_no_cell_is_a_formula(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    table = pd.DataFrame(rows, columns=["first", "second"], dtype=str)
    tables.write(folder / "one.csv", table)
    tables.write_rows(folder / "two.csv", list(table), table.to_dict("records"))
    for name in ("one.csv", "two.csv"):
        back = tables.read(folder / name)
        assert list(back.itertuples(index=False, name=None)) == rows
        with (folder / name).open(newline="", encoding="utf-8") as file:  # as another program reads it
            cells = [cell for row in list(csv.reader(file))[1:] for cell in row]
        for cell in cells:
            if cell[:1] in ("\t", "\r", "\n") or cell.strip()[:1] in tuple("=+-@"):
                float(cell)


def test_a_missing_table_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: cannot be read") as caught:
        tables.read(tmp_path / "none.csv")
    assert "\n" not in str(caught.value)


def test_numbers_are_read_as_numbers_on_request(tmp_path):
    tables.write(tmp_path / "a.csv", pd.DataFrame({"value": [-1.5, None], "group": ["=x", "y"]}))
    back = tables.read(tmp_path / "a.csv", text=False)
    assert back["value"].sum() == -1.5 and list(back["group"]) == ["=x", "y"]


def test_no_other_module_writes_a_table():
    """history.csv alone is written elsewhere: it holds numbers only."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "attr", getattr(node, "id", ""))
            if isinstance(node, ast.Attribute | ast.Name) and name in {"to_csv", "writer", "DictWriter", "savetxt"}:
                found.add(str(path.relative_to(PACKAGE)))
    assert found == {"disk/tables.py", "train/loop.py"}
