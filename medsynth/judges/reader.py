"""Readers: networks that learn to read every condition from real images, and then read the synthetic ones together.

What they read from held-out real images is the yardstick: a synthetic set cannot be read better than they read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from medsynth.artifacts.shards import Images
from medsynth.conditions.kind import Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.columns import PREDICTED
from medsynth.judges.reader_network import Reader, trunks
from medsynth.judges.reader_training import Part, input_size, outputs_of, train_reader

__all__ = ["TUNING_TRUNK", "Reader", "Trained", "read", "reading_cells", "restored", "train_readers"]

log = logging.getLogger(__name__)

TUNING_TRUNK = "scratch"  # no released metric is measured in it, as distances are in EfficientNet-Lite0
TUNING_SHARE = 0.5  # of the epochs: it compares settings, and is no yardstick
HOPELESS = 1.5  # times the validation loss of the trunk before: one that stays above it is given up


@dataclass(frozen=True)
class Trained:
    """What `train_readers` gives.

    Attributes:
        readers: whose readings are averaged.
        tuning: one of its own, with TUNING_TRUNK, for choices that are made before the others judge.
        losses: of each trunk that was tried, on the validation images.
    """

    readers: tuple[Reader, ...]
    tuning: Reader
    losses: dict[str, float]


def train_readers(
    training: Part, validation: Part, schema: ConditionSchema, epochs: int, count: int, seed: int
) -> Trained:
    """Train `count` readers with the trunk that reads the validation images best, and one more for `tune`.

    Args:
        training, validation: uint16 images (N, C, *spatial) and their conditions, of different subjects.
    """
    first: dict[str, Reader] = {}
    losses: dict[str, float] = {}
    for trunk in trunks(training[0].shape[1], input_size(training[0].shape[2:])):
        worst = HOPELESS * min(losses.values(), default=float("inf"))
        first[trunk], losses[trunk] = train_reader(training, validation, schema, epochs, seed, trunk, worst)
    best = min(losses, key=losses.__getitem__)
    log.info(
        "readers begin with %s, validation loss %s", best, ", ".join(f"{of} {loss:.3f}" for of, loss in losses.items())
    )
    more = [train_reader(training, validation, schema, epochs, seed + number, best)[0] for number in range(1, count)]
    tuning = first[TUNING_TRUNK]
    if best == TUNING_TRUNK:
        fewer = max(1, round(TUNING_SHARE * epochs))
        tuning, _ = train_reader(training, validation, schema, fewer, seed + count, TUNING_TRUNK)
    return Trained((first[best], *more), tuning, losses)


def restored(
    states: Iterable[Mapping[str, Tensor]], trunk: str, schema: ConditionSchema, shape: Sequence[int]
) -> tuple[Reader, ...]:
    """Readers from their states.

    Args:
        shape: of the images that they were trained on, (N, C, *spatial).
    """
    readers = []
    for state in states:
        reader = Reader(schema, shape[1], input_size(shape[2:]), trunk)
        reader.load_state_dict(dict(state))
        readers.append(reader.eval())
    return tuple(readers)


def read(readers: Sequence[Reader], images: Images) -> Reading:
    """Read every condition from uint16 images (N, C, *spatial): what the readers read, averaged."""
    raw = [outputs_of(reader, images) for reader in readers]
    columns: dict[str, np.ndarray] = {}
    probabilities: dict[str, np.ndarray] = {}
    for name, kind in readers[0].schema.kinds.items():
        of, shares = kind.read(kind.averaged([outputs[name] for outputs in raw]))
        columns |= of
        probabilities |= {} if shares is None else {name: shares}
    return Reading(pd.DataFrame(columns, index=range(len(images))), probabilities)


def reading_cells(schema: ConditionSchema, table: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """The readings as text, columns predicted_<column>; not applicable where that is what the table says."""
    cells = {column: of for kind in schema.kinds.values() for column, of in kind.cells(table, reading).items()}
    return pd.DataFrame(cells).add_prefix(PREDICTED)
