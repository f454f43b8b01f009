"""Whether a training has learnt its images by heart: from its history alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RISE = 0.01  # of the lowest held-out loss: what a loss rises by beside its noise
LAST = 2  # validations that are both above the lowest one


def overfitted_from(history: Sequence[dict[str, float]]) -> int | None:
    """Images seen when the held-out loss was lowest, where it rose afterwards while the training loss went on falling.

    Averaged weights and fixed noise make the held-out loss smooth: it falls, and then it rises for good or not at all.

    Args:
        history: rows with images_seen, total (nan where no phase ran) and val_loss (nan where not measured).
    Returns:
        None where nothing of the kind is seen: no score, too few validations, or a loss that fell to the end.
    """
    seen, total, held_out = (
        np.array([row.get(name, np.nan) for row in history], float) for name in ("images_seen", "total", "val_loss")
    )
    measured = np.flatnonzero(np.isfinite(held_out))
    if len(measured) <= LAST:
        return None
    best = int(np.argmin(held_out[measured]))
    later = held_out[measured[best + 1 :]]
    if len(later) < LAST or (later[-LAST:] <= held_out[measured[best]] * (1 + RISE)).any():
        return None
    before, after = (
        total[(seen > low) & (seen <= high)]
        for low, high in (
            (seen[measured[best - 1]] if best else 0, seen[measured[best]]),
            (seen[measured[-2]], seen[measured[-1]]),
        )
    )
    fell = np.nanmean(after) < np.nanmean(before) if np.isfinite(before).any() and np.isfinite(after).any() else False
    return int(seen[measured[best]]) if fell else None
