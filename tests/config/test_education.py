import pytest

from medsynth.config import VarySettings, parse
from medsynth.config.along import parse_along
from medsynth.config.education import refuse_bad_strips
from medsynth.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("severity=0:1:5", ("severity", ("0", "0.25", "0.5", "0.75", "1"))),
        ("age_years=80:20:3", ("age_years", ("80", "50", "20"))),
        ("sex=female, male", ("sex", ("female", "male"))),
        ("pathology", ("pathology", ())),
    ],
)
def test_a_strip_is_a_column_and_its_cells(text, expected):
    assert parse_along(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("severity=0:1", "along 'severity=0:1': expected COLUMN=LOW:HIGH:COUNT"),
        ("severity=a:b:c", "along 'severity=a:b:c': expected COLUMN=LOW:HIGH:COUNT"),
        ("severity=", "along 'severity=': expected COLUMN=LOW:HIGH:COUNT"),
        ("=0:1:3", "along '=0:1:3': expected COLUMN=LOW:HIGH:COUNT"),
        ("severity=0:1:1", "1 frames, expected 2 to 100"),
        ("severity=0:1:1000000000", "frames, expected 2 to 100"),
        ("severity=0:1:-3", "-3 frames, expected 2 to 100"),
    ],
)
def test_what_is_no_strip_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_along(text)


def test_unknown_columns_and_columns_that_are_moved_twice_are_refused():
    with pytest.raises(ValueError, match="unknown column in along 'severty', did you mean 'severity'"):
        refuse_bad_strips(["severty=0:1:3"], ["severity", "sex"])
    with pytest.raises(ValueError, match="moves a column twice"):
        refuse_bad_strips(["sex", "sex=female,male"], ["severity", "sex"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": [1, 1]}, r"subjects \[1, 1\] names one twice"),
        ({"subjects": [-1]}, "greater than or equal to 0"),
        ({"held": {"sex": "male"}}, "'sex' is both moved and held"),
        ({"along": []}, "at least 1 item"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        parse(VarySettings, {"subjects": [1], "along": ["sex=female,male"]} | change, "vary")
