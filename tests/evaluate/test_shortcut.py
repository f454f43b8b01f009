"""What a mark on a class is, and what is none: known answers on features of two classes."""

import numpy as np
import pytest

from medsynth.conditions.statistics import auroc, balanced_accuracy
from medsynth.evaluate import shortcut

COUNT, WIDTH = 200, 120


def drawn(seed: int, finding: float = 1.8) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) of noise, of which the first five show the class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b"])[np.arange(COUNT) % 2]
    features = rng.normal(size=(COUNT, WIDTH))
    features[:, :5] += finding * (labels == "b")[:, None]
    return features, labels


def transferred(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Balanced accuracy on other samples, and on real images."""
    real, of_real = drawn(99)
    lazy = shortcut.Lazy.fitted(shortcut.centred(features, labels), labels, np.arange(COUNT).astype(str), seed)
    read = lazy.model.predict(shortcut.centred(real, of_real))
    return balanced_accuracy(labels, lazy.read), balanced_accuracy(of_real, read)


def test_fresh_images_of_the_same_source_are_read_as_well_as_samples() -> None:
    own, other = transferred(*drawn(0))
    assert own > 0.8 and other > own - 0.08


def test_a_mark_on_one_class_is_all_that_is_learned() -> None:
    features, labels = drawn(0)
    features[:, -1] = np.where(labels == "a", 3, 0)
    own, other = transferred(features, labels)
    assert own == 1 and other == pytest.approx(0.5, abs=0.1)


def test_a_mark_on_both_classes_is_no_shortcut() -> None:
    features, labels = drawn(0)
    features[:, -1] = 3
    own, other = transferred(features + 2, labels)
    assert own > 0.8 and other > own - 0.08


def test_real_and_other_images_are_told_apart_by_a_shift_alone() -> None:
    """A shift of one deviation in each of 4 features: AUC of the best rule is Phi(sqrt(4) / sqrt(2)) = 0.92."""
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(2, 300, 20))
    subjects = np.arange(600).astype(str)
    same = shortcut.told_apart(real, other, subjects, 0)
    assert auroc(same[300:], same[:300]) == pytest.approx(0.5, abs=0.1)
    other[:, :4] += 1
    shifted = shortcut.told_apart(real, other, subjects, 0)
    assert auroc(shifted[300:], shifted[:300]) == pytest.approx(0.92, abs=0.03)


def test_images_of_one_subject_are_never_on_both_sides_of_a_fold() -> None:
    """Each subject has a feature of its own, and one image on each side: whoever saw the other would read it."""
    rng = np.random.default_rng(0)
    own = np.eye(60) * 20
    real, other = (own + rng.normal(size=(60, 60)) for _ in range(2))
    subjects = np.tile(np.arange(60).astype(str), 2)
    scores = shortcut.told_apart(real, other, subjects, 0)
    assert auroc(scores[60:], scores[:60]) == pytest.approx(0.5, abs=0.15)


def test_one_class_alone_has_no_curve() -> None:
    assert np.isnan(auroc(np.arange(3.0), np.zeros(0))) and np.isnan(auroc(np.zeros(0), np.arange(3.0)))
