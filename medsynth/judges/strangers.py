"""How like the nearest of many strangers is, estimated so that duplicates do not enter.

The likeness to the nearest of m strangers is a maximum of m. On Fisher's scale, artanh of a cosine, the likeness to one
of them is taken to be normal, so that its mean and deviation follow from two quantiles of such maxima: the share p of
them lies below mean + deviation x q(p^(1/m)), where q is the normal quantile (David and Nagaraja 2003, Order
Statistics, section 2.1). The quantiles are the first tenth and the median: duplicates, which are among the more alike
half, hardly lift them. Far out, tails of real collections are heavier than normal: what is found is raised by a share,
HEAVIER, of Fisher's scale.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

SHARES = np.array((0.1, 0.5))
HEAVIER = 1.15
CLOSEST = 0.9999  # a cosine above it counts as this one


def stranger_limit(likeness: np.ndarray, among: int, exceeded: float, total: int | None = None) -> float:
    """The likeness to the nearest stranger that a given share of images exceeds.

    Args:
        likeness: (n,) cosines of images to the nearest of some strangers; a quarter may be of duplicates.
        among: of how many strangers it is the nearest.
        exceeded: share of images whose nearest stranger is more alike, above 0 and below 1.
        total: of how many strangers the nearest is asked for; as many if None.
    Returns:
        A cosine; 1 where there is no image.
    """
    if len(likeness) == 0:
        return 1.0
    fisher = np.arctanh(np.clip(np.asarray(likeness, float), -CLOSEST, CLOSEST))
    found = np.quantile(fisher, SHARES)
    standard = -ndtri(-np.expm1(np.log(SHARES) / among))
    deviation = (found[1] - found[0]) / (standard[1] - standard[0])
    beyond = -ndtri(-math.expm1(math.log1p(-exceeded) / (total or among)))
    return math.tanh(HEAVIER * (found[0] + deviation * (beyond - standard[0])))
