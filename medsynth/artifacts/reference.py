"""What is known of a dataset's real images before a model exists: written by the step `reference`, read by `evaluate`.

reference.safetensors   the reader's weights, the index of training images, features and likenesses of real images
reference.json          from what store they are, and which extractor took the features
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medsynth.artifacts.store import Store
from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.disk import files
from medsynth.errors import InputError

TENSORS, RECORD = "reference.safetensors", "reference.json"


@dataclass(frozen=True)
class Reference:
    """Yardsticks of real images.

    Attributes:
        store: digest of the store.
        extractor: name of what took the features.
        reader: the state of the network that reads conditions.
        index: arrays of the index of training images.
        chosen: (m,) positions in the training split of the images whose features are kept.
        features: of the images at `chosen` (training) and of the test split (test): (n, d) float64.
        similarity, nearest: by split, (n,) likeness to the nearest training image, and its position.
    """

    store: str
    extractor: str
    reader: dict[str, Tensor]
    index: dict[str, np.ndarray]
    chosen: np.ndarray
    features: dict[str, np.ndarray]
    similarity: dict[str, np.ndarray]
    nearest: dict[str, np.ndarray]

    def write(self, folder: Path) -> None:
        """Fill an empty folder."""
        parts = {
            "index": self.index,
            "chosen": {"training": self.chosen},
            "features": self.features,
            "similarity": self.similarity,
            "nearest": self.nearest,
        }
        tensors = {f"reader.{name}": tensor for name, tensor in self.reader.items()}
        for part, arrays in parts.items():
            tensors |= {f"{part}.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        info = {"store": self.store, "extractor": self.extractor}
        write_tensors(folder / TENSORS, tensors, info)
        record = info | {"sha256": files.sha256(folder / TENSORS)}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

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
            parts.setdefault(part, {})[rest] = tensor
        arrays = {
            part: {name: tensor.numpy() for name, tensor in parts[part].items()}
            for part in ("index", "chosen", "features", "similarity", "nearest")
        }
        return cls(
            store=info["store"],
            extractor=info["extractor"],
            reader=parts["reader"],
            index=arrays["index"],
            chosen=arrays["chosen"]["training"],
            features=arrays["features"],
            similarity=arrays["similarity"],
            nearest=arrays["nearest"],
        )
