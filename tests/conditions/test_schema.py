import math

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medsynth.conditions.schema import GIVEN, MISSING, NOT_APPLICABLE, ConditionSchema
from medsynth.config import Categorical, Lesions, Number

FIELDS = {
    "pathology": Categorical(kind="categorical", values=("normal", "nodule")),
    "severity": Number(kind="number", range=(0, 1)),
    "age_years": Number(kind="number", range=(0, 100), unit="years"),
    "lesion": Lesions(kind="lesions", severity="severity"),
}
SCHEMA = ConditionSchema(FIELDS, 2)


def row(**cells: str) -> pd.DataFrame:
    return pd.DataFrame([{column: "" for column in SCHEMA.columns} | cells])


def test_columns_of_images_and_volumes():
    assert SCHEMA.columns[-3:] == ("lesion_x", "lesion_y", "lesion_size")
    assert ConditionSchema(FIELDS, 3).columns[-4:] == ("lesion_x", "lesion_y", "lesion_z", "lesion_size")


def test_states_and_values():
    condition = SCHEMA.encode(row(pathology="nodule", severity="0.75", lesion_x="n/a"))
    assert condition.values[0, :2].tolist() == [1.0, 0.5]
    assert condition.states[0].tolist() == [GIVEN, GIVEN, MISSING, NOT_APPLICABLE, MISSING, MISSING]


def test_a_column_that_the_table_lacks_is_missing():
    assert SCHEMA.encode(pd.DataFrame({"pathology": ["normal"]})).states[0, 1:].eq(MISSING).all()


cells = {
    "pathology": st.sampled_from(["", "n/a", "normal", "nodule"]),
    "severity": st.one_of(st.sampled_from(["", "n/a"]), st.floats(0, 1).map(lambda x: f"{x:.4f}")),
    "lesion_x": st.one_of(st.sampled_from(["", "n/a"]), st.floats(0, 1).map(lambda x: f"{x:.4f}")),
}


@given(st.fixed_dictionaries(cells))
def test_decode_inverts_encode(cells):
    back = SCHEMA.decode(SCHEMA.encode(row(**cells))).iloc[0]
    for column, text in cells.items():
        if text in ("", "n/a") or column == "pathology":
            assert back[column] == text
        else:
            assert float(back[column]) == pytest.approx(float(text), abs=1e-5)


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("pathology", "cancer", "not one of"),
        ("severity", "1.5", "not within"),
        ("severity", "nan", "not within"),
        ("severity", "inf", "not within"),
        ("severity", "high", "not a number"),
        ("lesion_size", "-0.1", "not within"),
    ],
)
def test_bad_cells_have_a_reason(column, text, reason):
    assert reason in SCHEMA.check(column, text)
    with pytest.raises(ValueError, match=column):
        SCHEMA.encode(row(**{column: text}))


def test_the_map_has_the_lesions_place_size_and_severity():
    table = row(severity="0.75", lesion_x="0.25", lesion_y="0.75", lesion_size="0.25")
    drawn = SCHEMA.draw(SCHEMA.encode(table), (64, 96))[0]
    rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    total = drawn[0].sum()
    assert (rows * drawn[0]).sum() / total == pytest.approx(48, abs=0.1)
    assert (columns * drawn[0]).sum() / total == pytest.approx(24, abs=0.1)
    assert total == pytest.approx(math.pi * 12.5**2, rel=0.05)  # a disc 24 pixels wide, its edge half a pixel out
    torch.testing.assert_close(drawn[1], drawn[0] / 2)


@pytest.mark.parametrize("cell", ["", "n/a"])
def test_the_map_is_empty_without_a_lesion(cell):
    table = row(severity="0.5", lesion_x=cell, lesion_y=cell, lesion_size=cell)
    assert SCHEMA.draw(SCHEMA.encode(table), (16, 16)).abs().max() == 0


def test_fields_are_dropped_one_by_one_and_all_together():
    many = SCHEMA.encode(pd.concat([row(pathology="normal", severity="1", age_years="5")] * 4000))
    torch.manual_seed(0)
    dropped = SCHEMA.drop(many, 0.36, torch.rand(4000, 5)).states
    missing = (dropped[:, :3] == MISSING).float()
    assert missing.mean(0).tolist() == pytest.approx([0.36] * 3, abs=0.03)  # four standard deviations
    assert missing.all(1).float().mean() == pytest.approx(0.2 + 0.8 * 0.2**3, abs=0.03)  # 0.36 = 1 - 0.8 * 0.8
    assert (dropped[:, 3:].eq(dropped[:, 3:4])).all()  # a lesion goes as a whole


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_share_of_none_hides_nothing_and_one_of_all_hides_everything(probability):
    many = SCHEMA.encode(pd.concat([row(pathology="normal", severity="1", age_years="5")] * 50))
    dropped = SCHEMA.drop(many, probability, torch.rand(50, 5)).states
    assert (dropped == MISSING).all() if probability else torch.equal(dropped, many.states)
