"""How the learning rate follows the budget."""

from __future__ import annotations

import math

from medsynth.config.training import Training


def learning_rate(options: Training, progress: float) -> float:
    """Linear warm-up, a plateau, and a cosine decay to zero over the last part of the budget.

    Args:
        progress: the share of the budget that is used up, from 0 to 1.
    """
    warm = min(1, (progress + 1e-3) / options.warmup) if options.warmup else 1
    left = min(1, (1 - progress) / options.decay) if options.decay else 1
    return options.learning_rate * warm * (1 - math.cos(math.pi * left)) / 2
