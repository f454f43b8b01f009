"""Graded columns of medical tables become ordinal, in the order that their scale has."""

import pytest

from medsynth.init.columns import Condition, describe

MANY = 4  # images of each value


@pytest.mark.parametrize(
    ("column", "cells", "values"),
    [
        ("dr_grade", ["2", "0", "4"], ["0", "1", "2", "3", "4"]),  # 1 and 3 are steps of the scale too
        ("Retinopathy grade", ["0", "4"], ["0", "1", "2", "3", "4"]),
        ("DR", ["Severe", "No DR", "Mild"], ["No DR", "Mild", "Severe"]),
        ("birads", ["5", "2", "4"], ["1", "2", "3", "4", "5", "6"]),
        ("BI-RADS", ["4A", "4C", "2", "4B"], ["2", "4A", "4B", "4C"]),
        ("Birads category", ["BI-RADS 5", "BI-RADS 1"], ["BI-RADS 1", "BI-RADS 5"]),
        ("density", ["d", "a", "b"], ["a", "b", "c", "d"]),
        ("breast_density", ["C", "B", "A", "D"], ["A", "B", "C", "D"]),
        ("ACR", ["3", "1"], ["1", "2", "3", "4"]),
        ("tumour grade", ["III", "I", "II"], ["I", "II", "III"]),
        ("stage", ["Stage IV", "Stage I"], ["Stage I", "Stage IV"]),
        ("severity", ["moderate", "mild"], ["none", "mild", "moderate", "severe"]),
        ("KL", ["0", "3"], ["0", "1", "2", "3", "4"]),
    ],
)
def test_grades_of_a_known_scale_are_in_its_order(column, cells, values):
    found = describe(column, [*cells, ""] * MANY, ())
    assert isinstance(found, Condition) and found.settings == {"kind": "ordinal", "values": values}
    assert found.notes[0].startswith("Grades of ") and found.counts == dict.fromkeys(cells, MANY)


@pytest.mark.parametrize(
    ("column", "cells", "kind"),
    [
        ("density", ["dense", "fatty", "b"], "categorical"),
        ("density", ["a", "A", "b"], "categorical"),  # one grade in two spellings: which of them is meant?
        ("birads", ["4", "4a", "5"], "categorical"),  # 4 is all of 4a to 4c
        ("finding", ["a", "b", "c"], "categorical"),  # nothing says that these are grades
        ("pi-rads", ["II", "III"], "categorical"),
        ("bone density", ["0.81", "1.22", "0.93"], "number"),
        ("dr", ["-1", "2", "3"], "ordinal"),  # few whole numbers, but of no known scale
    ],
)
def test_what_is_of_no_known_scale_is_judged_by_its_cells(column, cells, kind):
    found = describe(column, cells * MANY, ())
    assert isinstance(found, Condition) and found.kind == kind
    assert not found.notes[0].startswith("Grades of ")


def test_incomplete_is_no_grade_of_birads():
    found = describe("birads", ["0", "2", "4"] * MANY, ())
    assert isinstance(found, Condition) and found.settings["values"] == ["0", "2", "4"]


def test_a_grade_that_hardly_any_image_has_is_no_column_of_grades():
    assert not isinstance(describe("density", ["a", "b", "c", "a"], ()), Condition)
