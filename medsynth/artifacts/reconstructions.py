"""Held-out images as a trained model reconstructs them from its latent: `train` leaves them, `evaluate` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medsynth.artifacts.store import Store
from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.errors import InputError

FILE = "reconstructions.safetensors"


@dataclass(frozen=True)
class Reconstructions:
    """Images of the test split as a model reconstructs them; none where its family does not.

    Attributes:
        images: uint16 (n, C, *spatial) on the store's scale.
        rows: (n,) positions in the test split.
    """

    images: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def write(self, path: Path, store: Store) -> None:
        """Write them, whole or not at all."""
        tensors = {"images": torch.from_numpy(self.images), "rows": torch.from_numpy(self.rows)}
        write_tensors(path, tensors, {"store": store.info.digest})

    @classmethod
    def read(cls, path: Path, store: Store) -> Reconstructions:
        """Read what `write` wrote.

        Raises:
            InputError: it is damaged, or of another store.
        """
        tensors, info = read_tensors(path)
        if info.get("store") != store.info.digest:
            raise InputError(f"{path}: of a store with digest {str(info.get('store'))[:12]}, this one has "
                             f"{store.info.digest[:12]}; train the model again")  # fmt: skip
        found = cls(tensors["images"].numpy(), tensors["rows"].numpy())
        if found.images.shape != (len(found), store.info.channels, *store.info.size):
            raise InputError(f"{path}: reconstructions are {found.images.shape}, the store has images of "
                             f"{store.info.channels} x {list(store.info.size)}")  # fmt: skip
        return found
