import yaml
from hypothesis import given
from hypothesis import strategies as st

from medsynth.init.document import printable, render

WORDS = ["yes", "no", "null", "~", "on", "1", "1.0", "1e3", "0x1f", "12:30", "2020-01-01", "?", "=", "<<", "환자", ""]
SIGNS = [
    "- a",
    "-",
    "# no",
    "a: b",
    "a #b",
    "'",
    '"',
    "{}",
    "[a]",
    "&a",
    "*a",
    "!x",
    "%",
    "@",
    "`",
    "|",
    ">",
    " ",
    "a ",
    "a\n",
]
ODD = st.sampled_from([*WORDS, *SIGNS])
TEXTS = st.one_of(ODD, st.text(max_size=20))
SCALARS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


def paths(values, above=()):
    yield above
    for key, value in values.items() if isinstance(values, dict) else ():
        yield from paths(value, (*above, key))


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), st.data())
def test_what_is_written_is_what_is_read(values, data):
    noted = data.draw(st.lists(st.sampled_from(list(paths(values))), max_size=4))
    notes = {path: [printable(data.draw(TEXTS))] for path in noted}
    assert yaml.safe_load(render(values, notes)) == values


def test_notes_stand_above_their_keys_at_the_same_indentation():
    values = {"a": 1, "b": {"c": "no", "d": {"e": [1, 2]}}}
    notes = {(): ["Top."], ("b", "d"): ["About d.", "More."], ("a",): ["About a."]}
    assert render(values, notes) == (
        "# Top.\n\n# About a.\na: 1\n\nb:\n  c: 'no'\n  # About d.\n  # More.\n  d: {e: [1, 2]}\n"
    )


def test_a_list_that_stands_twice_is_written_twice():
    same = ["x"]
    assert "&" not in render({"a": {"b": same, "c": same}}, {})


def test_a_comment_is_one_line_that_steers_no_terminal():
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable("x" * 100) == "x" * 57 + "..."
