import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medsynth.conditions.kind import Reading
from medsynth.conditions.lesion_statistics import nearest_pairs
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Lesions, Number, parse
from medsynth.errors import InputError
from medsynth.models.networks.blocks import ConditionEmbedding

SET = Lesions(kind="lesions", most=3, graded=True, kinds=("mass", "cyst"))
SCHEMA = ConditionSchema({"lesion": SET}, 2)
KIND = SCHEMA.kinds["lesion"]
TWO = [("0.25", "0.75", "0.25", "0.5", "mass"), ("0.75", "0.25", "0.125", "1", "cyst"), ("n/a",) * 5]


def rows(*images) -> pd.DataFrame:
    return pd.DataFrame([list(itertools.chain(*slots)) for slots in images], columns=SCHEMA.columns)


def test_columns_name_each_lesion_where_there_is_room_for_several():
    assert SCHEMA.columns[:5] == ("lesion_1_x", "lesion_1_y", "lesion_1_size", "lesion_1_severity", "lesion_1_kind")
    assert SCHEMA.columns[-1] == "lesion_3_kind"
    one = ConditionSchema({"lesion": Lesions(kind="lesions", kinds=("mass",))}, 3)
    assert one.columns == ("lesion_x", "lesion_y", "lesion_z", "lesion_size", "lesion_kind")
    assert SCHEMA.numbers == {column for column in SCHEMA.columns if not column.endswith("kind")}
    assert KIND.moved_together[1] == ("lesion_2_x", "lesion_2_y", "lesion_2_size", "lesion_2_severity")


FRACTION = st.floats(0, 1).map(lambda x: f"{x:.4f}")
SLOT = st.one_of(st.just(("n/a",) * 5), st.tuples(*[FRACTION] * 4, st.sampled_from(["mass", "cyst", ""])))


@given(st.lists(SLOT, min_size=3, max_size=3))
def test_decode_inverts_encode(slots):
    table = rows(slots)
    back = SCHEMA.decode(SCHEMA.encode(table))
    for column in SCHEMA.columns:
        if column in SCHEMA.numbers and table.at[0, column] != "n/a":
            assert float(back.at[0, column]) == pytest.approx(float(table.at[0, column]), abs=1e-5)
        else:
            assert back.at[0, column] == table.at[0, column]


def test_the_maps_are_the_union_of_the_lesions():
    place, severity, mass, cyst = SCHEMA.draw(SCHEMA.encode(rows(TWO)), (64, 64))[0]
    for drawn, x, y, radius in ((mass, 16, 48, 8.5), (cyst, 48, 16, 4.5)):
        across, down = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="xy")
        total = drawn.sum()
        assert total == pytest.approx(math.pi * radius**2 + math.pi**3 / 3, rel=0.01)  # the edge is a logistic function
        assert ((across * drawn).sum() / total, (down * drawn).sum() / total) == pytest.approx((x, y), abs=0.1)
    torch.testing.assert_close(place, torch.maximum(mass, cyst))
    torch.testing.assert_close(severity, cyst, atol=1e-3, rtol=0)  # 0.5 is the middle of the range, 1 its top


def test_one_severity_of_all_lesions_is_the_number_fields():
    fields = {
        "grade": Number(kind="number", range=(0, 10)),
        "lesion": Lesions(kind="lesions", most=2, severity="grade"),
    }
    schema = ConditionSchema(fields, 2)
    cells = dict(zip(schema.columns, ["0", "0.25", "0.75", "0.25", "0.75", "0.25", "0.125"], strict=True))
    place, severity = schema.draw(schema.encode(pd.DataFrame([cells])), (32, 32))[0]
    torch.testing.assert_close(severity, -place)


def test_the_order_of_the_lesions_changes_nothing_that_a_network_is_told():
    orders = list(itertools.permutations(TWO))
    condition = SCHEMA.encode(rows(*orders))
    torch.manual_seed(0)
    vectors = ConditionEmbedding(SCHEMA, 16)(condition)
    torch.testing.assert_close(vectors, vectors[:1].expand_as(vectors))
    planes = SCHEMA.draw(condition, (16, 16))
    torch.testing.assert_close(planes, planes[:1].expand_as(planes))
    swapped = rows([("0.75", *TWO[0][1:]), ("0.25", *TWO[1][1:]), TWO[2]])  # each has the other's x
    other = ConditionEmbedding(SCHEMA, 16)
    a, b = other(condition[:1]), other(SCHEMA.encode(swapped))
    assert (a - b).abs().max() > 1e-3  # a sum of the scalars would not tell these apart


def test_the_order_of_the_lesions_changes_no_loss():
    orders = list(itertools.permutations(TWO))
    condition = SCHEMA.encode(rows(*orders))
    torch.manual_seed(0)
    outputs = [torch.rand(1, 3, 2), torch.rand(1, 3), torch.randn(1, 3, 64).log_softmax(2)]
    outputs += [torch.randn(1, 3, width) for width in (1, 1, 2)]
    losses = [sum(KIND.losses(outputs, condition[row : row + 1], [8, 8])).item() for row in range(len(orders))]
    assert losses == pytest.approx([losses[0]] * len(orders), rel=1e-5)


def test_a_perfect_reading_has_no_error_and_a_missed_lesion_counts_as_missed():
    asked = rows(TWO, TWO)
    reading = rows([TWO[1], TWO[2], TWO[0]], [TWO[2], TWO[2], ("0.26", "0.75", "0.25", "0.5", "cyst")])
    numbers = reading.replace("n/a", np.nan)
    for column in SCHEMA.numbers:
        numbers[column] = numbers[column].astype(float)
    numbers = numbers.fillna({column: "n/a" for column in SCHEMA.columns if column not in SCHEMA.numbers})
    pair = KIND.asked_and_read(asked, None, Reading(numbers, {}), (100, 100))
    value = {statistic.name: statistic.of(*pair) for statistic in KIND.statistics}
    assert value["centre_error_px"] == pytest.approx(0)  # the median of 0, 0 and 1
    assert value["detection_sensitivity"] == 3 / 4
    assert value["lesion_kind_accuracy"] == pytest.approx(2 / 3)
    cells = KIND.cells(asked, Reading(numbers, {}))
    assert cells["lesion_1_x"].tolist() == ["0.25", "0.26"] and cells["lesion_2_x"].tolist() == ["0.75", "n/a"]


def test_a_row_of_which_a_lesion_is_missing_is_not_judged():
    asked = rows(TWO, [TWO[0], ("",) * 5, TWO[2]], [TWO[2]] * 3)
    condition = SCHEMA.encode(asked)
    assert KIND.known(condition).tolist() == [True, False, True]
    reading = Reading(pd.DataFrame(0.5, index=range(3), columns=SCHEMA.columns).assign(
        **{f"lesion_{slot}_kind": "mass" for slot in (1, 2, 3)}), {})  # fmt: skip
    assert len(KIND.asked_and_read(asked, None, reading, (8, 8))[0]) == 1


def test_pairs_have_the_least_sum_of_distances():
    asked, read = np.array([[0.0, 0], [1, 0]]), np.array([[1.1, 0], [0.6, 0], [9, 9]])
    a, b = nearest_pairs(asked, read)
    assert dict(zip(a.tolist(), b.tolist(), strict=True)) == {0: 1, 1: 0}


def test_two_severities_are_refused():
    with pytest.raises(InputError, match="graded gives each lesion its own severity"):
        parse(Lesions, {"kind": "lesions", "graded": True, "severity": "grade"}, "x")


def test_a_lesion_that_is_there_by_half_is_refused():
    half = dict(zip(SCHEMA.columns, ["0.5", "n/a", "0.1", "1", "mass", *["n/a"] * 10], strict=True))
    assert SCHEMA.check_row(half) == ("lesion_1_y", "n/a beside a given lesion_1_size")
    missing = half | {"lesion_1_y": ""}
    assert SCHEMA.check_row(missing) is None
    assert SCHEMA.check_row(half | {"lesion_1_y": "2"}) == ("lesion_1_y", "not within 0 to 1")
