"""Known answers, and the area of a program of its own."""

import numpy as np
import pytest

from medsynth.utility import scores


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]])
    labels = np.array([0, 0, 1, 1])
    # Of the pairs (0, 2), (0, 3), (1, 2), (1, 3), the third is in the wrong order.
    assert scores.auroc(probability, labels) == pytest.approx(3 / 4)
    assert scores.auroc(np.full((4, 2), 0.5), labels) == pytest.approx(0.5)


def test_the_area_of_several_classes_is_that_of_monai():
    from monai.metrics import compute_roc_auc
    from torch import from_numpy

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    probability = rng.dirichlet(np.ones(3), 200) + 0.3 * np.eye(3)[labels]
    expected = compute_roc_auc(from_numpy(probability), from_numpy(np.eye(3)[labels]), average="macro")
    assert scores.auroc(probability, labels) == pytest.approx(expected)


def test_what_is_not_defined_is_nan():
    one = np.array([[0.9, 0.1], [0.4, 0.6]])
    assert np.isnan(scores.auroc(one, np.array([0, 0])))
    assert np.isnan(scores.balanced_accuracy(one, np.array([0, 0])))
    assert np.isnan(scores.recall(one, np.array([0, 0]), 1))


def test_recall_is_of_each_class_and_their_mean_does_not_go_by_frequency():
    probability = np.array([[0.9, 0.1]] * 8 + [[0.7, 0.3], [0.2, 0.8]])
    labels = np.array([0] * 8 + [1, 1])
    assert scores.recall(probability, labels, 0) == 1 and scores.recall(probability, labels, 1) == 0.5
    assert scores.balanced_accuracy(probability, labels) == 0.75


def test_calibration_is_how_far_confidence_is_from_the_share_of_hits():
    sure = np.tile([0.99, 0.01], (100, 1))
    assert scores.calibration_error(sure, np.arange(100) % 2) == pytest.approx(0.49)
    fair = np.tile([0.75, 0.25], (100, 1))
    assert scores.calibration_error(fair, (np.arange(100) % 4 == 0).astype(int)) == pytest.approx(0)
