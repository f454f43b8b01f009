"""What is known of a dataset's real images before a model exists: written by the step `reference`, read by `evaluate`.

reference.safetensors   the readers' weights, the index of training images, features and likenesses of real images
reference.json          from what store they are, which extractor took the features, how the readers were chosen
readings.csv            how well the readers read held-out real images, field by field
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medsynth.artifacts.store import Store
from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.config.columns import INADEQUATE
from medsynth.disk import files, tables
from medsynth.errors import InputError

TENSORS, RECORD, READINGS = "reference.safetensors", "reference.json", "readings.csv"


@dataclass(frozen=True)
class Reference:
    """Yardsticks of real images.

    Attributes:
        store: digest of the store.
        extractor: name of what took the features.
        trunk: what the readers look through; trunk_losses: of each that was tried, on the validation images.
        readers: the states of the networks that read conditions together.
        tuning_reader: the state of one more, which `evaluate` never asks: for choices made before it judges.
        readings: how well they read the validation and test images; its columns are those of readings.csv.
        index: arrays of the index of training images.
        chosen: (m,) positions in the training split of the images whose features are kept.
        features: of the images at `chosen` (training) and of the test split (test): (n, d) float64.
        similarity, parts: by split, (n,) likeness of the whole, and of parts, to the training image most like it.
        nearest: by split, (n,) that image's position.
        planted: by kind of change, (2, n) both likenesses of planted copies, by which the search is measured.
        planted_for_limits: the same of others, by which its limits are set.
    """

    store: str
    extractor: str
    trunk: str
    trunk_losses: Mapping[str, float]
    readers: tuple[dict[str, Tensor], ...]
    tuning_reader: dict[str, Tensor]
    readings: pd.DataFrame
    index: dict[str, np.ndarray]
    chosen: np.ndarray
    features: dict[str, np.ndarray]
    similarity: dict[str, np.ndarray]
    parts: dict[str, np.ndarray]
    nearest: dict[str, np.ndarray]
    planted: dict[str, np.ndarray]
    planted_for_limits: dict[str, np.ndarray]

    def inadequate(self, *splits: str) -> dict[tuple[str, str], str]:
        """(group, statistic) → a note, for what the readers do not read well enough from real images of the splits."""
        rows = self.readings[self.readings["split"].isin(splits) & ~self.readings["adequate"]]
        notes: dict[tuple[str, str], str] = {}
        for group, statistic, note in rows[["group", "statistic", "note"]].itertuples(index=False):
            notes.setdefault((group, statistic), f"{INADEQUATE}: {note}")
        return notes

    def write(self, folder: Path) -> None:
        """Fill an empty folder."""
        parts = {
            "index": self.index,
            "chosen": {"training": self.chosen},
            "features": self.features,
            "similarity": self.similarity,
            "parts": self.parts,
            "nearest": self.nearest,
            "planted": self.planted,
            "planted_for_limits": self.planted_for_limits,
        }
        states = {str(number): state for number, state in enumerate(self.readers)} | {"tuning": self.tuning_reader}
        tensors = {f"reader.{of}.{name}": tensor for of, state in states.items() for name, tensor in state.items()}
        for part, arrays in parts.items():
            tensors |= {f"{part}.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        info = {
            "store": self.store,
            "extractor": self.extractor,
            "readers": len(self.readers),
            "trunk": self.trunk,
            "trunk_losses": dict(self.trunk_losses),
            "readings": self.readings.astype(object).where(self.readings.notna(), None).to_dict("records"),
        }
        write_tensors(folder / TENSORS, tensors, info)
        record = info | {"sha256": files.sha256(folder / TENSORS)}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        tables.write(folder / READINGS, self.readings)

    @classmethod
    def open(cls, folder: Path, store: Store) -> Reference:
        """Read it.

        Raises:
            InputError: it is missing or damaged, or of another store.
        """
        tensors, info = read_tensors(folder / TENSORS)
        if info["store"] != store.info.digest:
            raise InputError(
                f"{folder}: of a store with digest {info['store'][:12]}, this one has {store.info.digest[:12]}"
            )
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            if part == "reader":
                of, _, rest = rest.partition(".")
                part = f"reader.{of}"
            parts.setdefault(part, {})[rest] = tensor
        arrays = {
            part: {name: tensor.numpy() for name, tensor in parts[part].items()}
            for part in (
                "index",
                "chosen",
                "features",
                "similarity",
                "parts",
                "nearest",
                "planted",
                "planted_for_limits",
            )
        }
        return cls(
            store=info["store"],
            extractor=info["extractor"],
            trunk=info["trunk"],
            trunk_losses=info["trunk_losses"],
            readers=tuple(parts[f"reader.{number}"] for number in range(info["readers"])),
            tuning_reader=parts["reader.tuning"],
            readings=pd.DataFrame(info["readings"]).astype({"adequate": bool}),
            index=arrays["index"],
            chosen=arrays["chosen"]["training"],
            features=arrays["features"],
            similarity=arrays["similarity"],
            parts=arrays["parts"],
            nearest=arrays["nearest"],
            planted=arrays["planted"],
            planted_for_limits=arrays["planted_for_limits"],
        )
