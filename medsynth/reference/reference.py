"""The step `reference`: all that is known of real images before a model exists, once for each dataset."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store
from medsynth.config import ReferenceSettings
from medsynth.disk.files import folder_written_whole
from medsynth.errors import InputError
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.features import MOST, extract
from medsynth.judges.planted import WANTED, planted
from medsynth.judges.reader import read, train_readers
from medsynth.reference.readings import judge

log = logging.getLogger(__name__)


def reference(settings: ReferenceSettings, store: Store, out: Path) -> None:
    """Write the yardsticks of a store's real images, whole or not at all.

    Raises:
        InputError: a split is empty.
    """
    with folder_written_whole(out) as part:
        look(settings, store).write(part)


def look(settings: ReferenceSettings, store: Store) -> Reference:
    """Train the reader on training images, index them, and take features and likenesses of real images."""
    train, val, test = (store.split(name) for name in ("train", "val", "test"))
    for name, view in (("train", train), ("val", val), ("test", test)):
        if len(view) == 0:
            raise InputError(
                f"store {store.info.dataset}: no image in split {name}, reference needs train, val and test"
            )
    schema = store.info.condition_schema
    trained = train_readers(
        (train.images, schema.encode(train.samples, train.masks)),
        (val.images, schema.encode(val.samples, val.masks)),
        schema,
        settings.reader_epochs,
        settings.readers,
        settings.seed,
    )
    held_out = (("val", val), ("test", test))
    readings = pd.concat(
        [judge(schema, name, view, read(trained.readers, view.images), settings.seed) for name, view in held_out],
        ignore_index=True,
    )
    index = TrainingIndex(train.images)
    likeness = {name: index.nearest(view.images) for name, view in held_out}
    count, seed = settings.planted_copies, settings.seed
    plants = {
        "limits": planted(train.images, val.images, count, (seed, 1), WANTED),
        "recall": planted(train.images, test.images, count, (seed,)),
    }
    copies = {
        purpose: {kind: np.stack(list(index.nearest(changed).by_name.values())) for kind, changed, _ in made}
        for purpose, made in plants.items()
    }
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[:MOST]
    known = Reference(
        store=store.info.digest,
        extractor=settings.extractor,
        trunk=trained.readers[0].trunk_name,
        trunk_losses=trained.losses,
        readers=tuple(reader.state_dict() for reader in trained.readers),
        tuning_reader=trained.tuning.state_dict(),
        readings=readings,
        index=index.to_arrays(),
        chosen=chosen,
        features={
            "training": extract(train.images, chosen, settings.extractor),
            "test": extract(test.images, name=settings.extractor),
        },
        similarity={name: found.whole for name, found in likeness.items()},
        parts={name: found.parts for name, found in likeness.items()},
        nearest={name: found.position for name, found in likeness.items()},
        planted=copies["recall"],
        planted_for_limits=copies["limits"],
    )
    for (group, statistic), note in known.inadequate("val", "test").items():
        log.warning("%s, %s: %s", group, statistic, note)
    return known
