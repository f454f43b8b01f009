"""How like the nearest of many strangers is: an extreme value, so that its tail follows from its quartiles.

The likeness to the nearest of m strangers is a maximum of m. On Fisher's scale, artanh of a cosine, whose distribution
has light tails, such maxima follow a Gumbel distribution, of which more strangers change the location alone: from m
to n of them by scale x log(n / m) (Coles 2001, An Introduction to Statistical Modeling of Extreme Values, section 3.1).
Fitted to quartiles, it does not see what the most alike quarter of the images is: duplicates lift no limit.
"""

from __future__ import annotations

import math

import numpy as np

QUARTILES = (0.25, 0.75)
CLOSEST = 0.9999  # a cosine above it counts as this one


def stranger_limit(likeness: np.ndarray, exceeded: float, times: float = 1.0) -> float:
    """The likeness to the nearest stranger that a given share of images exceeds.

    Args:
        likeness: (n,) cosines of images to the nearest of some strangers; a quarter may be of duplicates.
        exceeded: share of images whose nearest stranger is more alike.
        times: how many times as many strangers there are.
    Returns:
        A cosine; 1 where there is no image.
    """
    if len(likeness) == 0:
        return 1.0
    fisher = np.arctanh(np.clip(np.asarray(likeness, float), -CLOSEST, CLOSEST))
    low, high = np.quantile(fisher, QUARTILES)
    standard_low, standard_high = (-math.log(-math.log(share)) for share in QUARTILES)
    scale = (high - low) / (standard_high - standard_low)
    location = low - scale * standard_low + scale * math.log(times)
    return math.tanh(location - scale * math.log(-math.log1p(-exceeded)))
