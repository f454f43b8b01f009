"""How the learning rate follows the budget."""

from __future__ import annotations

import math

from medsynth.config.training import Training


def learning_rate(options: Training, progress: float) -> float:
    """Linear warm-up, then `cosine`: a plateau and a decay to zero over the last part of the budget, or
    `inverse_square_root`: a fall as 1 / sqrt(progress).

    Args:
        progress: the share of the budget that is used up, from 0 to 1.
    """
    warm = min(1, (progress + 1e-3) / options.warmup) if options.warmup else 1
    if options.schedule == "inverse_square_root":
        return options.learning_rate * warm * min(1, options.warmup / max(progress, 1e-3)) ** 0.5
    left = min(1, (1 - progress) / options.decay) if options.decay else 1
    return options.learning_rate * warm * (1 - math.cos(math.pi * left)) / 2
