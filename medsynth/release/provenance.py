"""What released images came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medsynth.errors import InputError


@dataclass(frozen=True)
class Provenance:
    """What the images came from: the model's family, and SHA-256 of its weights, its settings and its training data.

    Attributes:
        images_seen: by the generator while it trained, and by its parents, each as often as it came.
        overfitted_from: images seen when its loss on held-out images was lowest, if it rose from then on; else None.
        parents: role → SHA-256 of the weights of a generator that it began from or learnt from.
        elsewhere: the roles of those that learned from other images → whether all of these were simulated.
        tuned: how its sampler was chosen.
    """

    family: str
    images_seen: int
    overfitted_from: int | None
    parents: Mapping[str, str]
    tuned: str
    generator: str
    config: str
    training_data: str
    elsewhere: Mapping[str, bool]


def configuration_of(checkpoint_info: Mapping[str, Any], tuned: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """The text of generator.json: how the generator was trained and sampled, and how that sampler was chosen."""
    samplers = sorted(set(rows["sampler"]))
    if len(samplers) != 1:
        raise InputError(f"release: the samples are by {len(samplers)} samplers, expected one for all")
    sampler = json.loads(samplers[0])
    if sampler != tuned["sampler"]:
        raise InputError("release: the samples are by another sampler than that of sampler.json")
    chosen = {key: tuned[key] for key in ("tried", "images", "changed", "note")}
    configuration = {"train": checkpoint_info.get("settings"), "sampler": sampler, "tune": chosen}
    return json.dumps(configuration, indent=2, sort_keys=True) + "\n"


def provenance_of(checkpoint_info: Mapping[str, Any], tuned: Mapping[str, Any], configuration: str) -> Provenance:
    try:
        store, parents = checkpoint_info["store"]["digest"], checkpoint_info["parents"]
        return Provenance(
            family=checkpoint_info["settings"]["model"]["family"],
            images_seen=checkpoint_info["images_seen"],
            overfitted_from=checkpoint_info["overfitted_from"],
            parents={role: parent["weights_sha256"] for role, parent in parents.items()},
            tuned=tuned["note"],
            generator=checkpoint_info["weights_sha256"],
            config=hashlib.sha256(configuration.encode()).hexdigest(),
            training_data=store,
            elsewhere={
                role: parent["simulated"] for role, parent in parents.items() if parent["store_sha256"] != store
            },
        )
    except KeyError as error:
        raise InputError(f"release: model.json has no key {error}") from None
