"""Statistics of lesions: arrays (k, M, columns of a slot) as asked and as read, matched; NaN where there is none."""

from __future__ import annotations

from functools import partial

import numpy as np

from medsynth.conditions.statistics import NAN, Criterion, Statistic, balanced_accuracy, by_chance


def statistics_of(dims: int, several: bool, graded: bool, kinds: bool) -> tuple[Statistic, ...]:
    """Those of a field.

    Args:
        dims: of the image; a slot's columns are the place, the size, then severity and kind where there are any.
        several: whether there is room for more than one lesion.
    """
    place, size, grade = slice(0, dims), slice(dims, dims + 1), slice(dims + 1, dims + 2)
    placed = _criterion("centre_gain", place)
    of = [
        Statistic("centre_error_px", False, "px", partial(median_distance, place), placed),
        Statistic("size_error_px", False, "px", partial(median_distance, size), _criterion("size_gain", size)),
    ]
    if several:
        of.append(Statistic("detection_sensitivity", True, "", partial(_detected, dims), placed))
    if graded:
        of.append(
            Statistic(
                "lesion_severity_error", False, "", partial(median_distance, grade), _criterion("severity_gain", grade)
            )
        )
    if kinds:
        named = Criterion("balanced_accuracy", _kind_balanced, _kind_by_chance)
        of.append(Statistic("lesion_kind_accuracy", True, "", _kind_accuracy, named))
    return tuple(of)


def _criterion(name: str, columns: slice) -> Criterion:
    return Criterion(name, partial(_gain, columns), _no_gain)


def _no_gain(asked: np.ndarray, read: np.ndarray) -> float:
    return 0.0


def _gain(columns: slice, asked: np.ndarray, read: np.ndarray) -> float:
    """By which share the median error is below that of reading every lesion at the mean of those asked."""
    if not np.isfinite(asked[:, :, columns]).any():
        return NAN
    mean = np.broadcast_to(np.nanmean(asked[:, :, columns], axis=(0, 1)), asked[:, :, columns].shape)
    everything = slice(None)
    blind = median_distance(everything, asked[:, :, columns], mean)
    return 1 - median_distance(columns, asked, read) / blind if blind > 0 else NAN


def median_distance(columns: slice, asked: np.ndarray, read: np.ndarray) -> float:
    """Median over the lesions that were asked and found."""
    distance = np.linalg.norm(asked[:, :, columns] - read[:, :, columns], axis=2)
    return float(np.nanmedian(distance)) if np.isfinite(distance).any() else NAN


def _detected(dims: int, asked: np.ndarray, read: np.ndarray) -> float:
    """Share of the lesions asked within whose radius one is found (as in LUNA16; Setio et al. 2017)."""
    distance = np.linalg.norm(asked[:, :, :dims] - read[:, :, :dims], axis=2)
    there = np.isfinite(asked[:, :, : dims + 1]).all(2)
    return float((distance <= asked[:, :, dims] / 2)[there].mean()) if there.any() else NAN


def _kinds(asked: np.ndarray, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.isfinite(asked[:, :, -1]) & np.isfinite(read[:, :, -1])
    return asked[:, :, -1][both], read[:, :, -1][both]


def _kind_by_chance(asked: np.ndarray, read: np.ndarray) -> float:
    return by_chance(*_kinds(asked, read))


def _kind_balanced(asked: np.ndarray, read: np.ndarray) -> float:
    return balanced_accuracy(*_kinds(asked, read))


def _kind_accuracy(asked: np.ndarray, read: np.ndarray) -> float:
    """Share of the lesions found that are of the kind asked."""
    kinds, named = _kinds(asked, read)
    return float((kinds == named).mean()) if len(kinds) else NAN


def nearest_pairs(asked: np.ndarray, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of (a, d) places goes with which of (b, d), by the least sum of distances (Hungarian method; Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(np.linalg.norm(asked[:, None] - read[None], axis=2))
