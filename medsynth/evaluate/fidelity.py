"""Fidelity: how far the synthetic images are from held-out real ones, as a distance between two sets of features.

The metrics are pure functions of two feature arrays (n, d). Their intervals resample whole subjects on the real side,
since images of one subject are not independent, and single images on the synthetic side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

Interval = tuple[float, float]

CONFIDENCE = 0.95
JACKKNIFE_GROUPS = 20


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel inception distance: unbiased squared MMD with the kernel (x.y / d + 1)^3. Lower is better.

    0 means the same distribution; the estimate itself may fall below 0. Several images of one subject, where only one
    of the sets has them, lift it slightly.

    Source: Binkowski et al. 2018, "Demystifying MMD GANs", Eq. 4.
    """
    aa, bb, ab = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    n, m = len(a), len(b)
    within = (aa.sum() - aa.trace()) / (n * (n - 1)) + (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def kid_interval(a: np.ndarray, b: np.ndarray, subjects: np.ndarray, draws: int, rng: np.random.Generator) -> Interval:
    """Bootstrap interval of `kid(a, b)` over the subjects of `a` and the rows of `b`.

    A draw is a vector of counts on kernel matrices computed once. Two copies of one subject are never paired: their
    similarity says nothing of the distribution, and would lift every draw above the estimate.

    Args:
        a, b: features (n, d) and (m, d).
        subjects: (n,) the subject of each row of `a`.
        draws: bootstrap draws.
    """
    groups = np.unique(subjects, return_inverse=True)[1]
    count_a = _resampling_counts(groups.max() + 1, draws, rng)
    count_b = _resampling_counts(len(b), draws, rng)
    within_a = _within(_kernel(a, a), groups, count_a)
    within_b = _within(_kernel(b, b), np.arange(len(b)), count_b)
    weight_a = count_a[:, groups]
    between = np.einsum("dm,dm->d", weight_a @ _kernel(a, b), count_b) / (weight_a.sum(1) * count_b.sum(1))
    low, high = np.quantile(within_a + within_b - 2 * between, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _resampling_counts(size: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `size` originals is drawn: (draws, size)."""
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(float)


def _within(kernel: np.ndarray, groups: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Weighted mean of k(x_i, x_j), i != j, for each draw; a group's own pairs count once for each of its copies."""
    same = groups[:, None] == groups[None, :]
    weight = count[:, groups]
    own = same & ~np.eye(len(groups), dtype=bool)
    across = np.where(same, 0.0, kernel)
    sums = np.einsum("dn,dn->d", weight @ across, weight) + weight @ np.where(own, kernel, 0.0).sum(1)
    pairs = np.einsum("dn,dn->d", weight @ ~same, weight) + weight @ own.sum(1)
    return sums / pairs


def fid(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between the Gaussians fitted to two sets of features. Lower is better.

    tr (S_a S_b)^(1/2) is the nuclear norm of X_a X_b^T / sqrt((n - 1)(m - 1)) for centred X: an n x m problem, exact
    also for n < d, where a matrix square root of the d x d covariances is singular. Biased upwards for finite n, so
    compare only values at the same n and m.

    Source: Heusel et al. 2017, "GANs trained by a two time-scale update rule", Eq. 6.
    """
    mean_a, mean_b = a.mean(0), b.mean(0)
    x, y = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    cross = np.linalg.norm(_square(x) @ _square(y).T, ord="nuc")
    return float(((mean_a - mean_b) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * cross)


def _square(x: np.ndarray) -> np.ndarray:
    """At most (d, d) with the same x^T x."""
    return np.linalg.qr(x).R if len(x) > x.shape[1] else x


def jackknife_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    a: np.ndarray,
    b: np.ndarray,
    subjects: np.ndarray,
    rng: np.random.Generator,
    bounds: Interval = (-np.inf, np.inf),
) -> Interval:
    """Delete-a-group jackknife interval of `metric(a, b)` over the subjects of `a` and the rows of `b`.

    For metrics that a bootstrap's duplicates would shift: FID, whose bias grows when rows repeat, and neighbour
    counts, since a copy is its own nearest neighbour. The jackknife repeats nothing and tends to err on the wide side
    (Efron & Stein 1981). The interval is for the metric's expected value at this n and m, its bias included.

    Args:
        metric: function of two feature arrays.
        subjects: (n,) the subject of each row of `a`.
        bounds: the least and the greatest value that the metric can take; the interval ends there.
    Source: Shao & Wu 1989, "A general theory for jackknife variance estimation"; Student's t on the group counts.
    """
    group_a, group_b = _jackknife_groups(subjects, rng), _jackknife_groups(np.arange(len(b)), rng)
    without_a = np.array([metric(a[group_a != g], b) for g in range(group_a.max() + 1)])
    without_b = np.array([metric(a, b[group_b != g]) for g in range(group_b.max() + 1)])
    variance = sum((len(v) - 1) / len(v) * ((v - v.mean()) ** 2).sum() for v in (without_a, without_b))
    degrees = min(len(without_a), len(without_b)) - 1
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * np.sqrt(variance)
    value = metric(a, b)
    return max(float(value - margin), bounds[0]), min(float(value + margin), bounds[1])


def _jackknife_groups(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A group number for each row; rows of one label share a group."""
    index = np.unique(labels, return_inverse=True)[1]
    count = index.max() + 1
    return (rng.permutation(count) % min(JACKKNIFE_GROUPS, count))[index]


def class_weights(real: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """Weights (m,) by which synthetic images have the class shares of the real ones, and notes that say so.

    None where there is nothing to weigh: no class is on both sides, or the shares are the same.

    Args:
        real, synthetic: (n,) and (m,) classes.
    """
    weights = np.zeros(len(synthetic))
    shared = np.intersect1d(real, synthetic)
    for value in shared:
        of_value = synthetic == value
        weights[of_value] = (real == value).mean() / of_value.mean()
    if not weights.any():
        return None, []
    if np.ptp(weights) < 1e-9:
        return None, _left_out(real, synthetic)
    return weights, ["weighted to the class shares of the test images", *_left_out(real, synthetic)]


def _left_out(real: np.ndarray, synthetic: np.ndarray) -> list[str]:
    """Say which classes are on one side alone, and left out of a comparison."""
    sides = (("synthetic", np.setdiff1d(real, synthetic)), ("test", np.setdiff1d(synthetic, real)))
    return [f"no {side} image of {', '.join(map(str, lacking))}" for side, lacking in sides if len(lacking)]


def of_one_mixture(
    real: np.ndarray, others: Sequence[np.ndarray], most: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], list[str]]:
    """Positions at which every set has the class shares of the real one, each of the others with as many images.

    They are drawn, not weighted: a share of neighbourhoods does not follow weights, and all distances see the same.

    Args:
        real, others: classes (n,) of each set; a class that one of them lacks is left out of all.
        most: images of a set.
    Returns:
        Positions in `real`, in each of `others`, and notes that say what was done.
    """
    common = [value for value in np.unique(real) if all((other == value).any() for other in others)]
    chosen = rng.permutation(np.flatnonzero(np.isin(real, common)))[:most]
    notes = _left_out(real, others[0])
    if not common:
        return chosen, [chosen] * len(others), notes
    shares = np.array([(real[chosen] == value).mean() for value in common])
    available = np.array([[(other == value).sum() for value in common] for other in others]).min(0)
    total = min(float(most), float(np.min(available[shares > 0] / shares[shares > 0])))
    counts = np.minimum(np.floor(total * shares + 0.5).astype(int), available)
    drawn = [
        np.concatenate([rng.permutation(np.flatnonzero(other == v))[:k] for v, k in zip(common, counts, strict=True)])
        for other in others
    ]
    if counts.sum() < len(others[0]):
        notes = [f"{counts.sum()} of {len(others[0])} synthetic images, in the class shares of the test images", *notes]
    return chosen, drawn, notes
