"""Shortcuts: marks by which synthetic images differ from real ones, and whether a classifier would learn them.

Pure functions of features. A classifier that is trained on samples and reads their class by a mark of the generator, in
place of the finding, is perfect on samples and useless on real images (Geirhos et al. 2020, "Shortcut learning in deep
neural networks", Section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from medsynth.conditions.statistics import balanced_accuracy

FOLDS = 5
REGULARISATION = 0.01  # C of the logistic regression: there are more features than images
KEPT = 100  # features that differ most between classes, which trees look at
TREES = 20
DEPTHS = (1, 2, 4)  # of the trees, the laziest first
FEWEST_IN_LEAF = 5  # images


def told_apart(real: np.ndarray, other: np.ndarray, subjects: np.ndarray, seed: int) -> np.ndarray:
    """(n + m,) scores, higher for `other`, by logistic regressions that have not seen the image's subject.

    Args:
        real, other: features (n, d) and (m, d).
        subjects: (n + m,) of each image.
    """
    features = np.concatenate([real, other])
    labels = np.repeat([0, 1], [len(real), len(other)])
    scores = np.empty(len(labels))
    for train, test in _folds(labels, subjects, seed):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=200))
        scores[test] = model.fit(features[train], labels[train]).decision_function(features[test])
    return scores


@dataclass(frozen=True)
class Lazy:
    """A classifier that takes the easiest way: bagged trees, no deeper than they must be.

    Breiman 1996, "Bagging predictors". The depth is the least whose accuracy on held-out folds is within a standard
    error of the best (Breiman et al. 1984, "Classification and regression trees", Section 3.4.3): where one mark gives
    the class away, one question about it is all that is learned.

    Attributes:
        read: (n,) the class of each training image as read by a classifier of the other folds.
    """

    model: Pipeline
    read: np.ndarray

    @classmethod
    def fitted(cls, features: np.ndarray, labels: np.ndarray, subjects: np.ndarray, seed: int) -> Lazy:
        """Fit it to features (n, d) of classes (n,) and subjects (n,)."""
        read = np.tile(labels, (len(DEPTHS), 1))
        for train, test in _folds(labels, subjects, seed):
            for place, depth in enumerate(DEPTHS):
                model = _trees(depth, seed).fit(features[train], labels[train])
                read[place, test] = model.predict(features[test])
        accuracy = np.array([balanced_accuracy(labels, of) for of in read])
        best = accuracy.max()
        place = int(np.flatnonzero(accuracy >= best - np.sqrt(best * (1 - best) / len(labels)))[0])
        return cls(_trees(DEPTHS[place], seed).fit(features, labels), read[place])


def centred(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Features (n, d) less the mean of their class means: what all classes share tells none of them."""
    return features - np.mean([features[labels == label].mean(0) for label in np.unique(labels)], 0)


def _trees(depth: int, seed: int) -> Pipeline:
    tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=FEWEST_IN_LEAF, class_weight="balanced")
    bagged = BaggingClassifier(tree, TREES, random_state=seed)
    return make_pipeline(VarianceThreshold(), SelectKBest(_f_statistic, k=KEPT), bagged)


def _f_statistic(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(d,) of an analysis of variance; infinite for a mark that does not vary within a class."""
    with np.errstate(divide="ignore"):
        return f_classif(features, labels)[0]


def _folds(labels: np.ndarray, subjects: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    return list(folds.split(labels[:, None], labels, subjects))
