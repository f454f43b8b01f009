import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsynth.conditions.kind import GIVEN, MISSING, NOT_APPLICABLE, Condition, Reading
from medsynth.conditions.multi_label import MultiLabelKind
from medsynth.config import MultiLabel, parse
from medsynth.errors import InputError

VALUES = ("effusion", "nodule", "mass")
FINDINGS = MultiLabelKind("findings", MultiLabel(kind="multi_label", values=VALUES), 2)
CELLS = st.one_of(
    st.sampled_from(["", "n/a", "no finding"]),
    st.lists(st.sampled_from(VALUES), min_size=1, unique=True).map("|".join),
)


@given(st.lists(CELLS, min_size=1, max_size=5))
def test_decode_inverts_encode_but_for_the_order_of_the_labels(cells):
    back = FINDINGS.decode(FINDINGS.encode({"findings": cells}, len(cells)))["findings"]
    assert [sorted(cell.split("|")) for cell in back] == [sorted(cell.split("|")) for cell in cells]


def test_another_separator_stands_between_the_labels():
    kind = MultiLabelKind("findings", MultiLabel(kind="multi_label", values=("a|b", "c"), separator=";"), 2)
    assert kind.refusal("findings", "c; a|b") is None and kind.refusal("findings", "a|b|c") is not None
    assert kind.decode(kind.encode({"findings": ["c; a|b"]}, 1)) == {"findings": ["a|b;c"]}


def test_no_finding_is_seen_where_a_training_cell_says_so():
    assert not FINDINGS.seen("findings", np.array(["mass", "nodule"], object), "no finding")
    assert FINDINGS.seen("findings", np.array(["mass", "no finding"], object), "no finding")
    assert FINDINGS.seen("findings", np.array(["mass", "nodule"], object), "mass|nodule")
    assert not FINDINGS.seen("findings", np.array(["mass", "nodule"], object), "effusion")


def test_each_label_is_a_scalar_of_its_own():
    encoded = FINDINGS.encode({"findings": ["mass|effusion", "no finding", "", "n/a"]}, 4)
    assert encoded.values.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert encoded.states.tolist() == [[GIVEN] * 3, [GIVEN] * 3, [MISSING] * 3, [NOT_APPLICABLE] * 3]
    states = encoded.states.clone()
    states[0, 2] = MISSING  # the mass was left out on its own
    assert FINDINGS.decode(Condition(encoded.values, states))["findings"][0] == "effusion"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("cyst", "'cyst' is not one of effusion, nodule, mass, no finding"), ("mass|", "'' is not one of"),
     ("mass|no finding", "'no finding' is not one of"), ("mass|mass", "names a value twice")],
)  # fmt: skip
def test_bad_cells_have_a_reason(cell, reason):
    assert FINDINGS.check("findings", cell).startswith(reason)


@pytest.mark.parametrize("values", [("a", "a|b"), ("a", " b"), ("a", "no finding"), ("a", ""), ("a", "a")])
def test_values_that_a_cell_cannot_hold_are_refused(values):
    with pytest.raises(InputError):
        parse(MultiLabel, {"kind": "multi_label", "values": values}, "x")


def test_a_plan_matches_the_same_labels_in_any_order():
    cells = np.array(["mass|nodule", "nodule|mass", "mass", "", "n/a", "no finding"], object)
    assert FINDINGS.agrees("findings", cells, "nodule|mass").tolist() == [True, True, False, False, False, False]
    assert FINDINGS.agrees("findings", cells, "no finding").tolist() == [False] * 5 + [True]
    assert FINDINGS.seen("findings", cells, "mass|nodule") and not FINDINGS.seen("findings", cells, "effusion|mass")


def test_each_label_has_its_rates():
    table = pd.DataFrame({"findings": ["mass", "mass|nodule", "no finding", ""]})
    reading = Reading(pd.DataFrame({"findings": ["mass", "nodule", "mass", "effusion"]}), {})
    pair = FINDINGS.asked_and_read(table, None, reading, (8, 8))
    rates = {(part, s.name): s.of(*arrays) for part, arrays in FINDINGS.by_part(pair) for s in FINDINGS.statistics}
    assert rates["findings=mass", "sensitivity"] == 0.5 and rates["findings=mass", "specificity"] == 0
    assert rates["findings=nodule", "balanced_accuracy"] == 1
    assert np.isnan(rates["findings=effusion", "sensitivity"])  # never asked
