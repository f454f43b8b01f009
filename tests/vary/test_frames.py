import pandas as pd
import pytest

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Lesions, Number
from medsynth.errors import InputError
from medsynth.vary.frames import frames_of

SCHEMA = ConditionSchema(
    {
        "pathology": Categorical(kind="categorical", values=("normal", "nodule", "cyst")),
        "severity": Number(kind="number", range=(0, 1)),
        "sex": Categorical(kind="categorical", values=("female", "male")),
        "lesion": Lesions(kind="lesions"),
    },
    2,
)
TRAINING = pd.DataFrame(
    [
        ("normal", "0", "female", "n/a", "n/a", "n/a"),
        ("nodule", "0.2", "male", "0.3", "0.4", "0.1"),
        ("nodule", "0.8", "female", "0.6", "0.4", "0.2"),
    ],
    columns=SCHEMA.columns,
)
PLANNED = pd.DataFrame(
    [
        ("normal", "0", "male", "n/a", "n/a", "n/a"),
        ("nodule", "0.4", "male", "0.5", "0.5", "0.15"),
        ("nodule", "0.6", "female", "0.2", "0.2", "0.12"),
    ],
    columns=SCHEMA.columns,
).assign(sample_id=["d-m-0", "d-m-1", "d-m-2"], seed="7")


def frames(along: str, held: dict[str, str] | None = None, subject: int = 3) -> pd.DataFrame:
    return frames_of(SCHEMA, PLANNED, TRAINING, along, held or {}, subject)


def test_one_cell_moves_and_noise_and_all_others_stay():
    rows = frames("severity=0.2:0.8:4")
    assert rows["severity"].tolist() == rows["asked"].tolist() == ["0.2", "0.4", "0.6", "0.8"]
    assert rows["seed"].tolist() == [3] * 4 and rows["frame"].tolist() == [0, 1, 2, 3]
    others = [column for column in SCHEMA.columns if column != "severity"]
    assert (rows[others].nunique() == 1).all() and rows["pathology"][0] == "nodule"  # the row with a lesion
    assert rows["sample_id"].is_unique


def test_the_subject_decides_the_row_of_the_plan():
    found = {frames("severity=0:1:2", subject=subject)["lesion_x"][0] for subject in range(20)}
    assert found == {"0.5", "0.2"}
    assert frames("severity=0:1:2").equals(frames("severity=0:1:2"))


def test_what_is_held_chooses_the_row_or_replaces_its_number():
    rows = frames("severity=0:1:2", {"sex": "female", "lesion_x": "0.7"})
    assert rows["sex"].tolist() == ["female"] * 2
    assert rows["lesion_x"].tolist() == ["0.7"] * 2 and rows["lesion_y"].tolist() == ["0.2"] * 2


def test_what_no_image_of_a_category_has_follows_the_category():
    rows = frames("pathology=normal,nodule", {"sex": "male"}).set_index("pathology")
    assert rows.loc["normal", ["severity", "lesion_x", "lesion_size"]].tolist() == ["0", "n/a", "n/a"]
    assert rows.loc["nodule", ["severity", "lesion_x", "lesion_size"]].tolist() == ["0.4", "0.5", "0.15"]
    held = frames("pathology=normal,nodule", {"severity": "0.9"})
    assert held["severity"].tolist() == ["0.9", "0.9"]


@pytest.mark.parametrize(
    ("along", "held", "message"),
    [
        ("severity=0:1.7:2", {}, "along 'severity=0:1.7:2', frame 1: severity '1.7': not within 0 to 1"),
        ("severity", {}, "severity has no list of two values or more, expected COLUMN=LOW:HIGH:COUNT"),
        ("pathology=nodule,cyst", {}, "frame 1: pathology 'cyst' has no training image, a model cannot draw it"),
        ("severty=0:1:3", {}, "unknown column in along 'severty', did you mean 'severity'"),
        ("severity=0:1:3", {"sx": "male"}, "unknown column in with 'sx', did you mean 'sex'"),
        ("severity=0:1:3", {"sex": "other"}, "with: sex 'other': not one of female, male"),
        (
            "lesion_x=0:1:3",
            {"pathology": "normal"},
            "none of 3 rows of the plan has a value in it and pathology=normal",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(along, held, message):
    with pytest.raises(InputError, match=message):
        frames(along, held)
