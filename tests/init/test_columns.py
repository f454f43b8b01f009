import re
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsynth.config.columns import RESERVED
from medsynth.init.columns import Condition, LeftOut, condition_name, describe, round_outward, words


@pytest.mark.parametrize(
    ("column", "cells", "settings"),
    [
        ("Finding", ["yes"] * 5 + ["no"] * 7, {"kind": "categorical", "values": ["no", "yes"]}),
        ("sex", ["M", "F", ""] * 4, {"kind": "categorical", "values": ["F", "M"]}),
        ("contrast", ["0", "1"] * 4, {"kind": "categorical", "values": ["0", "1"]}),
        ("KL grade", ["2", "10", "0"] * 4, {"kind": "ordinal", "values": ["0", "2", "10"]}),
        ("age_years", [str(age) for age in range(42, 87, 2)], {"kind": "number", "range": [40, 90], "unit": "years"}),
        ("Volume (ml)", ["2.31", "4.87", "3.0", "NA"], {"kind": "number", "range": [2, 5], "unit": "mL"}),
        ("snr", ["-1e-3", "2e-3", "n/a"], {"kind": "number", "range": [-0.001, 0.002]}),
        (
            "labels",
            ["a|b", "a", "No Finding", "b|c", "c", ""] * 3,
            {"kind": "multi_label", "values": ["a", "b", "c"], "none": "No Finding"},
        ),
        (
            "labels",
            ["a;b", "a", "b;c", "c"] * 3,
            {"kind": "multi_label", "values": ["a", "b", "c"], "none": "no finding", "separator": ";"},
        ),
    ],
)
def test_a_column_that_can_be_asked_for(column, cells, settings):
    found = describe(column, cells, ())
    assert isinstance(found, Condition) and found.settings == settings and found.column == column


@pytest.mark.parametrize(
    ("column", "cells", "reason"),
    [
        ("x", ["", "NA", "n/a"], "no cell has a value"),
        ("site", ["A"] * 9, "the only value is 'A'"),
        ("id", [f"k{row}" for row in range(9)], "a different text in every row"),
        ("", ["0", "1", "2", "3"], "numbers the rows"),
        ("study id", ["71", "5", "93", "20"], "numbers the rows"),
        ("study id", ["71", "5", "93", "71"], "an identifier by its name"),
        ("date", ["2020-01-05", "2021-11-30", "2020-01-05"], "dates"),
        ("taken", ["1/5/2020", "30.11.21"], "dates"),
        ("report", ["seen", "not seen", "seen again", "seen"], "free text, 3 different cells"),
        ("huge", ["-1e308", "1e308"], "numbers without a finite range"),
        ("lists", ["a|b", "a||b", "a|c"], "lists between '|', some with an empty or a repeated value"),
    ],
)
def test_a_column_that_is_left_out(column, cells, reason):
    assert describe(column, cells, ()) == LeftOut(column, reason)


def test_how_many_images_a_value_has_and_which_are_rare():
    cells = ["normal"] * 1500 + ["mass"] * 25 + ["cyst"] * 100 + ["flu"] * 19 + [""] * 3 + ["NaN"] + ["n/a"]
    found = describe("finding", cells, ())
    assert isinstance(found, Condition)
    assert found.notes == (
        "Images: normal: 1,500, cyst: 100, mass: 25 (rare), flu: 19 (rare).",  # 25 of 1,644 is 1.5 %
        "4 missing, 1 n/a, cannot apply.",
    )
    assert found.counts == Counter(normal=1500, cyst=100, mass=25, flu=19)


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=5))
def test_every_column_has_a_name_of_its_own_that_the_configuration_takes(column, others):
    taken = []
    for other in (*others, column, column):
        taken.append(condition_name(other, taken))
    assert len(set(taken)) == len(taken) and not set(taken) & RESERVED
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) and not name.startswith("predicted_") for name in taken)


NUMBERS = st.decimals(-1_000_000, 1_000_000, places=3)


@given(st.lists(NUMBERS, min_size=2, max_size=2, unique=True).map(sorted))
def test_a_range_encloses_its_numbers_and_is_less_than_three_times_as_wide(ends):
    low, high = round_outward(*ends)
    assert low <= ends[0] and high >= ends[1]
    assert Decimal(str(high)) - Decimal(str(low)) < 3 * (ends[1] - ends[0])


@pytest.mark.parametrize("name", ["Patient Age", "patient_age", "PatientAge", "patient-age"])
def test_words_of_a_name(name):
    assert words(name) == ["patient", "age"]
