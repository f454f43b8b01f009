"""The image that a strip holds outside of its lesions: the frame with the least of what moves, drawn as a whole.

Where the moved column places or grades lesions, every other frame is drawn anew in the surroundings of the lesions of
all frames, and is the anchor elsewhere. What is drawn anew fades out within these surroundings.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import pandas as pd

from medsynth.conditions import regions
from medsynth.conditions.kind import ABSENT
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Sampler
from medsynth.models.contract import GenerativeModel
from medsynth.models.generation import Held, generate

log = logging.getLogger(__name__)


def draw(
    model: GenerativeModel,
    schema: ConditionSchema,
    rows: pd.DataFrame,
    sampler: Sampler,
    masks: np.ndarray | None,
    held_outside: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The frames of all strips, uint16 (n, C, *spatial), and the frame (n,) that each is held to, -1 for none.

    Args:
        rows: as `frames_of` gives them, index 0 to n - 1; masks: (n, *spatial) that they ask for, if any do.
        held_outside: whether strips that move lesions hold their anchor outside of them.
    """
    anchor, drawn = np.full(len(rows), -1), {}
    if held_outside and not model.holds:
        log.warning("a %s model cannot hold an image outside of lesions: frames are drawn whole", sampler.family)
    elif held_outside:
        for _, strip in rows.groupby(["subject", "along"], sort=False):
            subject, column = strip[["subject", "along"]].iloc[0]
            if not any(kind.placed_by(column) for kind in schema.kinds.values()):
                continue
            about = regions.surroundings(schema, strip, model.spec.size).max(0)
            if not about.any():
                log.warning("subject %s, %s: no frame has a lesion, all are drawn whole", subject, column)
                continue
            first = anchor_of(schema, strip)
            anchor[strip.index[strip.index != first]] = first
            drawn[first] = regions.fading(about)

    def part(chosen: np.ndarray, held: Held | None = None) -> np.ndarray:
        of_masks = None if masks is None else masks[chosen]
        return generate(model, schema, rows.iloc[chosen].reset_index(drop=True), sampler, of_masks, held)

    whole, others = np.flatnonzero(anchor < 0), np.flatnonzero(anchor >= 0)
    images = np.empty((len(rows), model.spec.channels, *model.spec.size), np.uint16)
    images[whole] = part(whole)
    if len(others):
        region = np.stack([drawn[first] for first in anchor[others]])
        images[others] = part(others, Held(images[anchor[others]], region))
    frames = rows["frame"].to_numpy()
    return images, np.where(anchor < 0, -1, frames[anchor])


def anchor_of(schema: ConditionSchema, strip: pd.DataFrame) -> int:
    """The index of the frame with the least moved number, an absent one before all, or of the first of a list."""
    if strip["along"].iloc[0] not in schema.numbers:
        return int(strip.index.to_numpy()[0])
    numbers = [-math.inf if text in ABSENT else float(text) for text in strip["asked"]]
    return int(strip.index.to_numpy()[int(np.argmin(numbers))])
