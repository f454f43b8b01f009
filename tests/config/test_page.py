"""The tables of keys: what they show of a schema that is written here by hand."""

from typing import Annotated

import pytest
from pydantic import Field

from medsynth.config import page
from medsynth.config.section import Fraction, Strict, one_of
from medsynth.errors import InputError


class Inner(Strict):
    """What stands inside."""

    share: Fraction = 0.5
    """A share."""


class Outer(Strict):
    """The outer section.

    It has a second paragraph.
    """

    name: str
    """A name,
    in two lines.
    """
    mark: str = Field(default="|", json_schema_extra={"enum": ["|", "-"]})
    """Stands between | and |."""
    pair: tuple[int, float | None] = (1, None)
    """Two values."""
    inner: dict[str, Inner] = {}
    """Several."""
    one: Inner = Inner()
    """One."""


TABLES = r"""### `Outer`

The outer section.

It has a second paragraph.

| key | value | default | meaning |
| --- | --- | --- | --- |
| name | string | required | A name, in two lines. |
| mark | `\|`, `-` | \| | Stands between \| and \|. |
| pair | [integer, number or null] | [1, null] | Two values. |
| inner | name → [Inner](#inner) | {} | Several. |
| one | [Inner](#inner) | see there | One. |

### `Inner`

What stands inside.

| key | value | default | meaning |
| --- | --- | --- | --- |
| share | number ≥ 0, ≤ 1 | 0.5 | A share. |
"""


def test_a_section_has_a_table_of_its_keys_and_each_stands_once():
    assert page.tables(Outer.model_json_schema()) == TABLES


def test_what_stands_above_the_marker_is_kept():
    written = f"# By hand\n\n{page.MARKER}\n\nold tables"
    assert page.renewed(written, Outer.model_json_schema()) == f"# By hand\n\n{page.MARKER}\n\n{TABLES}"


def test_a_page_without_the_marker_is_not_overwritten():
    with pytest.raises(InputError, match="the page has no line '<!-- Below this line"):
        page.renewed("# By hand", Outer.model_json_schema())


def test_the_members_of_an_open_set_are_named():
    class Choice(Strict):
        """One of several."""

        colour: Annotated[str, one_of({"red": 1, "blue": 2})]
        """A colour."""

    assert "| colour | `red`, `blue` | required | A colour. |" in page.tables(Choice.model_json_schema())
