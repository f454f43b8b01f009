"""What settings are compared by: validation images, the rows that images are asked for by, and the measures of them.

Nothing here sees a test image, nor a network that a metric of a release is measured in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsynth.artifacts.store import Store, to_intensity
from medsynth.conditions.kind import Reading
from medsynth.judges.texture import ends, texture
from medsynth.tune.adherence import Adherence
from medsynth.tune.score import (
    DRAWS,
    MEASURES,
    Measured,
    Scale,
    burnt_share,
    energy,
    linear,
    pair_terms,
    resampled,
    weighted_mmd,
)

SEED_BITS = 48  # as those of samples
LEAST_DEVIATION = 0.05  # of a logarithm of power or kurtosis between images
LEAST = {"texture": 0.1}  # a mean within a third of a standard deviation of real images is not told from theirs

Look = Callable[[np.ndarray], tuple[np.ndarray, Reading]]  # stored images → a reader's features, and what it reads


@dataclass(frozen=True)
class Asked:
    """What images are asked for, as those of a split are.

    Attributes:
        positions: (n,) in the split; real: those images, uint16 (n, C, *spatial).
        rows: sample_id, seed, and the condition cells; masks: (n, *spatial), where a condition is a mask.
    """

    positions: np.ndarray
    real: np.ndarray
    rows: pd.DataFrame
    masks: np.ndarray | None

    @classmethod
    def of(cls, split: Store, images: int, seed: int) -> Asked:
        """As many rows as `images`, every class of the label as often.

        Classes with few images have theirs repeated, each time with another seed.
        """
        rng = np.random.default_rng(np.random.SeedSequence((seed, 2)))
        labels, schema = np.array(split.label_values()), split.info.condition_schema
        orders = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        turns = range(-(-images // len(orders)))
        positions = np.array([order[turn % len(order)] for turn in turns for order in orders])[:images]
        rows = split.samples[list(schema.columns)].iloc[positions].reset_index(drop=True)
        rows.insert(0, "sample_id", [f"tune-{row}" for row in range(images)])
        rows.insert(1, "seed", [str(drawn) for drawn in rng.integers(2**SEED_BITS, size=images)])
        masks = split.masks[positions] if split.masks is not None and schema.needs_mask else None
        return cls(positions, split.read(positions), rows, masks)


class Yardstick:
    """Measures images of some rows beside the real images of these rows.

    Attributes:
        measures: names of those that there are.
        left_out: fields that the reader does not read from real images.
        held_out: the reader was trained without these images. If not, no field is read.
    """

    def __init__(self, split: Store, asked: Asked, seed: int, look: Look, held_out: bool = True) -> None:
        schema, positions = split.info.condition_schema, asked.positions
        subjects = np.unique(split.samples["subject_id"].to_numpy(dtype=str)[positions], return_inverse=True)[1]
        self._look = look
        self._subjects = subjects
        self._counts = resampled(subjects, DRAWS, np.random.default_rng(np.random.SeedSequence((seed, 3))))
        features, reading = look(asked.real)
        self._of_features = Scale.of(features)
        grain = texture(to_intensity(asked.real))
        self._of_texture = Scale.of(grain, LEAST_DEVIATION)
        self._features, self._texture = self._of_features(features), self._of_texture(grain)
        self._ends = ends(asked.real)
        self.held_out = held_out
        self._adherence = None
        self.left_out = tuple(schema.kinds)
        if held_out:
            counts = self._counts[:, subjects]
            self._adherence = Adherence(schema, asked.rows, asked.masks, split.info.size, reading, counts)
            self.left_out = self._adherence.left_out
        self.measures = tuple(
            name for name in MEASURES if name != "adherence" or set(schema.kinds) - set(self.left_out)
        )

    def measure(self, images: np.ndarray) -> Measured:
        """How good images (n, C, *spatial), uint16, of the rows are."""
        features, reading = self._look(images)
        adherence = None if self._adherence is None else self._adherence.shortfall(reading)
        grain = self._of_texture(texture(to_intensity(images)))
        values = [
            self._distance(energy, self._features, self._of_features(features)),
            *([] if adherence is None else [adherence]),
            self._distance(linear, self._texture, grain),
        ]
        least = np.array([LEAST.get(name, 0.0) for name in self.measures])
        return Measured(np.stack(values), burnt_share(ends(images), self._ends), least)

    def _distance(self, kernel, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
        return weighted_mmd(pair_terms(kernel, real, synthetic), self._subjects, self._counts)
