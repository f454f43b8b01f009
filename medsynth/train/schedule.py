"""How the learning rate follows the budget."""

from __future__ import annotations

import math

from medsynth.config.training import Training


def learning_rate(options: Training, progress: float, halvings: int = 0) -> float:
    """Linear warm-up, then `cosine`: constant, and a decay to zero over the last part of the budget;
    `inverse_square_root`: a fall as 1 / sqrt(progress); or `plateau`: by half each time that validation has stalled.

    Args:
        progress: the share of the budget that is used up, from 0 to 1.
        halvings: how often validation has stalled.
    """
    warm = min(1, (progress + 1e-3) / options.warmup) if options.warmup else 1
    if options.schedule == "inverse_square_root":
        return options.learning_rate * warm * min(1, options.warmup / max(progress, 1e-3)) ** 0.5
    if options.schedule == "plateau":
        return options.learning_rate * warm * 0.5**halvings
    left = min(1, (1 - progress) / options.decay) if options.decay else 1
    return options.learning_rate * warm * (1 - math.cos(math.pi * left)) / 2
