"""What gates.csv says of each gate: the worst of its lines; only a reason lets one that fails through."""

from pathlib import Path

import pandas as pd
import pytest

from medsynth.artifacts.outcomes import COLUMNS, outcomes, read, refusals
from medsynth.disk import tables
from medsynth.errors import InputError


def table(*lines: tuple[str, str, str, str, str]) -> pd.DataFrame:
    """Lines of gate, result, value, note and waived."""
    rows = [dict(zip(("gate", "result", "value", "note", "waived"), line, strict=True)) for line in lines]
    made = pd.DataFrame(rows).reindex(columns=list(COLUMNS), fill_value="")
    return made.assign(metric="kid", group="all", expected="at most 0.1")


MIXED = table(
    ("integrity", "pass", "", "", ""),
    ("fidelity", "pass", "0.05", "", ""),
    ("fidelity", "insufficient", "0.4", "12 subjects, needs 50", ""),
    ("diversity", "insufficient", "", "not measured", ""),
    ("diversity", "fail", "0.4123", "", ""),
    ("diversity", "fail", "0.2", "", ""),
    ("adherence", "fail", "0.3", "", "a demo"),
    ("copies", "fail", "0", "", "none may be given"),
    ("lineage", "fail", "", "the model was trained on other data", ""),
)


def test_a_gate_has_the_worst_result_of_its_lines_and_says_what_those_say() -> None:
    found = {gate.name: gate for gate in outcomes(MIXED)}
    assert {name: gate.said for name, gate in found.items()} == {
        "integrity": "pass", "fidelity": "insufficient", "diversity": "fail", "adherence": "fail, waived",
        "copies": "fail", "lineage": "fail",
    }  # fmt: skip
    assert found["integrity"].reasons == () and found["fidelity"].reasons == ("12 subjects, needs 50",)
    assert found["diversity"].reasons == ("kid is 0.412, expected at most 0.1", "kid is 0.2, expected at most 0.1")
    assert found["copies"].reasons == ("kid is 0, expected at most 0.1",)


def test_one_line_for_each_gate_that_stops_the_release() -> None:
    diversity, copies, lineage = refusals(MIXED)
    assert diversity == (
        "gate diversity failed: kid is 0.412, expected at most 0.1; kid is 0.2, expected at most 0.1; "
        "to release nevertheless, write why in gates.diversity.waived of the configuration"
    )
    assert copies == "gate copies failed: kid is 0, expected at most 0.1; this gate is never waived"
    assert lineage.startswith("gate lineage failed: kid: the model was trained on other data; this gate is never")


@pytest.mark.parametrize(
    ("changed", "said"), [(MIXED.assign(result="good"), "damaged (result 'good')"), (MIXED[:0], "damaged (no gate)")]
)
def test_a_damaged_table_is_one_line(changed: pd.DataFrame, said: str, tmp_path: Path) -> None:
    tables.write(tmp_path / "gates.csv", changed)
    with pytest.raises(InputError) as raised:
        read(tmp_path / "gates.csv")
    assert said in str(raised.value)


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    tables.write(tmp_path / "gates.csv", MIXED)
    assert read(tmp_path / "gates.csv").equals(MIXED)
