import pytest

from medsynth.config import InsertSettings
from medsynth.errors import InputError
from medsynth.insert.recipients import rows_of

HEADER = ("pathology", "severity", "lesion_x", "lesion_y", "lesion_size")
LESION = ("high", "0.7", "0.5", "0.5", "0.25")


def settings(**changes) -> InsertSettings:
    return InsertSettings(**{"seed": 1, "into": {"pathology": "low"}} | changes)


def test_a_row_is_the_recipients_but_for_what_is_asked(spotted):
    rows = rows_of(settings(), spotted, HEADER, [LESION, ("high", "", "0.25", "0.5", "0.1")])
    recipients = spotted.samples.iloc[rows["position"]]
    assert (recipients["pathology"] == "low").all() and (recipients["split"] == "train").all()
    assert rows["age_years"].tolist() == recipients["age_years"].tolist()
    assert rows.loc[0, list(HEADER)].tolist() == list(LESION)
    assert rows["severity"].tolist() == ["0.7", ""]  # the recipient's is of no lesion
    assert rows["seed"].nunique() == 2 and rows["seed"].max() < 2**48


def test_the_seed_decides_the_recipients_and_each_comes_once_before_any_comes_again(spotted):
    rows = rows_of(settings(), spotted, HEADER, [LESION] * 20)
    counts = rows["position"].value_counts()
    assert len(counts) == 16 and counts.tolist() == [2] * 4 + [1] * 12  # 16 of 32 training images have no lesion
    again = rows_of(settings(), spotted, HEADER, [LESION] * 20)
    assert rows.equals(again)
    assert rows_of(settings(seed=2), spotted, HEADER, [LESION] * 20)["position"].tolist() != rows["position"].tolist()
    tested = rows_of(settings(split="test", into={}), spotted, HEADER, [LESION] * 5)
    assert (spotted.samples.iloc[tested["position"]][["split", "pathology"]] == ["test", "low"]).all(axis=None)


@pytest.mark.parametrize("cell", ["0.5", ""])
def test_an_image_that_has_a_lesion_or_may_have_one_is_no_recipient(spotted, cell):
    spotted.samples.loc[2:, ["lesion_x", "lesion_y", "lesion_size"]] = cell
    rows = rows_of(settings(), spotted, HEADER, [LESION] * 3)
    assert rows["position"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "header", "row", "message"),
    [
        ({"into": {"patology": "low"}}, HEADER, LESION, "unknown column in into 'patology', did you mean 'pathology'"),
        ({"into": {"pathology": "cyst"}}, HEADER, LESION, "into pathology 'cyst': not one of low, high"),
        ({"into": {"age_years": "5"}}, HEADER, LESION, "into age_years '5': a number"),
        (
            {"into": {"pathology": "high"}},
            HEADER,
            LESION,
            "none of 32 train images has pathology=high and 'n/a' in all",
        ),
        ({}, ("pathology",), ("high",), "1 of 1 rows place no lesion, each needs a place and a size: row 1"),
        ({}, HEADER, None, "the table of lesions has no row"),
    ],
)
def test_what_cannot_be_is_one_line(spotted, changes, header, row, message):
    with pytest.raises(InputError, match=message) as caught:
        rows_of(settings(**changes), spotted, header, [row] if row else [])
    assert "\n" not in str(caught.value)


def test_a_category_that_no_training_image_has_is_refused(spotted):
    spotted.samples.loc[spotted.samples["split"] == "train", "pathology"] = "low"
    with pytest.raises(InputError, match="row 1: pathology 'high' has no training image"):
        rows_of(settings(), spotted, HEADER, [LESION])


def test_a_dataset_without_lesions_is_refused(store):
    with pytest.raises(InputError, match="store d: no condition is of kind lesions, there is nothing to insert"):
        rows_of(settings(), store, ("pathology",), [("high",)])
