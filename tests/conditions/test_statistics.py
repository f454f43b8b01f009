import numpy as np
import pytest
import torch

from medsynth.conditions import lesion_statistics, statistics
from medsynth.conditions.kind import mean_probability
from medsynth.conditions.schema import ConditionSchema
from tests.conditions.toys import FIELDS, STRUCTURES

OF_LABEL = {statistic.name: statistic.of for statistic in ConditionSchema(FIELDS, 2).kinds["multi_label"].statistics}


def test_rank_correlation_of_a_constant_is_not_a_number() -> None:
    assert statistics.rank_correlation(np.arange(5.0), np.exp(np.arange(5.0))) == pytest.approx(1)
    assert np.isnan(statistics.rank_correlation(np.ones(5), np.arange(5.0)))


def test_rates_of_a_label_are_those_of_the_counted_table() -> None:
    asked = np.array([1, 1, 1, 1, 0, 0], bool)
    read = np.array([1, 1, 1, 0, 1, 0], bool)
    assert OF_LABEL["sensitivity"](asked, read) == 3 / 4
    assert OF_LABEL["specificity"](asked, read) == 1 / 2
    assert OF_LABEL["balanced_accuracy"](asked, read) == 5 / 8
    assert np.isnan(statistics.balanced_accuracy(np.ones(3, bool), np.ones(3, bool)))  # no image without it
    assert np.isnan(OF_LABEL["sensitivity"](np.zeros(3, bool), np.ones(3, bool)))  # none with it


def test_a_reader_that_always_says_the_common_class_is_read_by_chance() -> None:
    asked, read = np.array(["a"] * 96 + ["b"] * 4), np.array(["a"] * 100)
    assert statistics.ACCURACY.of(asked, read) == 0.96
    assert statistics.balanced_accuracy(asked, read) == statistics.by_chance(asked, read) == 0.5


def test_steps_of_ranks() -> None:
    asked, read = np.array([0.0, 1, 2, 4]), np.array([0.0, 2, 4, 4])
    within = {statistic.name: statistic for statistic in ConditionSchema(FIELDS, 2).kinds["ordinal"].statistics}
    assert within["within_one_step"].of(asked, read) == 3 / 4
    assert within["within_one_step"].hits(asked, read).tolist() == [True, True, False, True]
    assert statistics.mean_absolute_error(asked, read) == 3 / 4


def test_a_place_is_told_from_the_mean_place_of_those_asked() -> None:
    centre, *_ = lesion_statistics.statistics_of(2, several=False, graded=False, kinds=False)
    asked = np.array([[[0.0, 0, 1]], [[8.0, 0, 1]], [[0.0, 6, 1]], [[8.0, 6, 1]]])  # 5 pixels from their mean, (4, 3)
    of, limit = centre.criterion.of, centre.criterion.limit
    assert of(asked, asked) == 1 and limit(asked, asked) == 0
    assert of(asked, asked + np.array([1.0, 0, 0])) == pytest.approx(1 - 1 / 5)
    assert of(asked, np.broadcast_to([4.0, 3, 1], asked.shape)) == 0


@pytest.mark.parametrize("kind", ["categorical", "multi_label", "mask"])
def test_several_readers_give_their_mean_probability(kind: str) -> None:
    of = ConditionSchema({"x": FIELDS[kind]}, 2, STRUCTURES).kinds["x"]
    shape = (5, 3, 4, 4) if kind == "mask" else (5, 2)
    logits = [3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    squash = torch.sigmoid if kind == "multi_label" else (lambda part: part.softmax(1))
    expected = sum(map(squash, logits)) / 3
    _, probabilities = of.read(of.averaged([(part,) for part in logits]))
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-6)
    assert torch.equal(mean_probability(logits[:1]), logits[0].log_softmax(1))


def test_lesions_of_several_readers_are_averaged_in_whatever_order_they_found_them() -> None:
    of = ConditionSchema({"x": FIELDS["lesions"]}, 2).kinds["x"]
    centres = torch.tensor([[[0.2, 0.2], [0.8, 0.8]]])
    one = [centres, torch.tensor([[0.1, 0.3]]), torch.zeros(1, 2, 4), torch.full((1, 2, 1), 5.0)]
    one += [torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[4.0, 0], [0, 4]]])]
    other = [part.flip(1) for part in one]
    other[0] = other[0] + 0.02
    columns, _ = of.read(of.averaged([one, other]))
    read = [columns[f"x_{slot}_{part}"][0] for slot in (1, 2) for part in ("x", "size", "severity", "kind")]
    assert read[:3] == pytest.approx([0.21, 0.1, 0.5]) and read[4:7] == pytest.approx([0.81, 0.3, 1.0])
    assert read[3::4] == ["bright", "dark"]
