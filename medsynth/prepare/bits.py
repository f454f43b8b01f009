"""How many bits a collection uses of its 16-bit images, whose files do not say so: one scale for all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from medsynth.images.intensity import CONTAINER_BITS

log = logging.getLogger(__name__)

FEWEST = 8
MUCH_DARKER = 3  # bits below the largest: an eighth of its brightness


def bits_used(largest: Sequence[int], dataset: str) -> int | None:
    """The fewest bits that hold the largest values of all images; None without such images.

    Warns where most images are much darker than the brightest: that one may be the odd one out.
    """
    if not largest:
        return None
    depths = sorted(max(FEWEST, value.bit_length()) for value in largest)
    bits, usual = depths[-1], depths[len(depths) // 2]
    if bits - usual >= MUCH_DARKER:
        log.warning(
            "%s: one of its 16-bit images has values up to %s, half of them use %d bits at most and are stored dark: "
            "source.bits_stored: %d puts the brighter ones into quarantine",
            dataset, f"{max(largest):,}", usual, usual,
        )  # fmt: skip
    elif bits < CONTAINER_BITS:
        log.warning(
            "%s: its 16-bit images have values up to %s and are read again as of %d bits; "
            "source.bits_stored: %d spares the second reading",
            dataset, f"{max(largest):,}", bits, bits,
        )  # fmt: skip
    return bits
