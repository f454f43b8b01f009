import numpy as np
import pytest
import torch

from medsynth.conditions.kind import WAVES
from medsynth.conditions.ordinal import OrdinalKind
from medsynth.config import Ordinal, parse
from medsynth.errors import InputError
from medsynth.models.networks.blocks import FourierFeatures

GRADES = OrdinalKind("grade", Ordinal(kind="ordinal", values=(0, 1, 2, 3, 4)), 2)


def test_grades_are_even_steps_from_minus_one_to_one():
    encoded = GRADES.encode({"grade": ["0", "1", "2", "3", "4", "", "n/a"]}, 7)
    assert encoded.values[:5, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert encoded.states[:, 0].tolist() == [0, 0, 0, 0, 0, 1, 2]
    assert GRADES.decode(encoded)["grade"] == ["0", "1", "2", "3", "4", "", "n/a"]


def test_neighbouring_grades_are_equally_far_apart_for_the_network():
    """|exp(i w x) - exp(i w (x + d))| = 2 |sin(w d / 2)|, wherever x is."""
    waves = FourierFeatures(WAVES, octaves=1)
    features = waves(GRADES.encode({"grade": list("01234")}, 5).values[:, 0])
    steps = (features[1:] - features[:-1]).norm(dim=1)
    expected = (4 * (torch.pi * waves.frequencies * 0.5 / 2).sin().square()).sum().sqrt()
    torch.testing.assert_close(steps, expected.expand(4))


def test_the_nearest_grade_is_read():
    read, _ = GRADES.read([torch.tensor([-3.0, -0.76, -0.74, 0.1, 0.26, 9.0])])
    assert read["grade"].tolist() == ["0", "0", "1", "2", "3", "4"]


def test_losses_of_equal_steps_are_equal_wherever_they_are():
    part = GRADES.encode({"grade": list("01234")}, 5)
    losses = [
        GRADES.losses([part.values[[rank], 0] + 0.5], part[rank : rank + 1], [8, 8])[0].item() for rank in range(5)
    ]
    assert losses == pytest.approx([0.25] * 5)


def test_statistics_are_of_ranks_and_not_of_texts():
    words = OrdinalKind("grade", Ordinal(kind="ordinal", values=("none", "mild", "severe")), 2)
    assert words.check("grade", "moderate") == "not one of none < mild < severe"
    assert words.asked_as("severe") == 2.0
    assert [part.name for part in words.statistics] == [
        "rank_correlation",
        "within_one_step",
        "mean_absolute_error_steps",
    ]
    assert words._rank(np.array([-1.0, 1.0])).tolist() == [0, 2]


@pytest.mark.parametrize(("values", "message"), [([3, 3], "not distinct"), ([1], "at least 2"), ([True, 2], "string")])
def test_grades_that_are_none_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        parse(Ordinal, {"kind": "ordinal", "values": values}, "x")
