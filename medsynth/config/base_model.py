"""Weights that come with the package, for models to begin with: what a configuration must know of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "models" / "weights"
INITIAL, DETAILS = "initial", "details"  # roles of a model to begin from: whole, or after its first stage
NO_PARENT = "none"  # in the place of a parent's name: from scratch


@dataclass(frozen=True)
class Base:
    """A trained model in the package, made by `make base` from images that show no patient.

    Attributes:
        weights: safetensors, with model.json's record beside it.
        sha256: of the weights.
        model: its settings; shape: (C, *spatial) of its images.
    """

    weights: Path
    sha256: str
    model: Mapping[str, Any]
    shape: tuple[int, ...]

    def serves(self, shape: Sequence[int], brightness: bool) -> bool:
        """Whether models of images (C, *spatial) can begin with it.

        Args:
            brightness: whether brightness is a channel of theirs, which a grey model serves.
        """
        return len(shape) == len(self.shape) and (self.shape[0] == shape[0] or (brightness and self.shape[0] == 1))


@cache
def bases(folder: Path = FOLDER) -> tuple[Base, ...]:
    """All that there are."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        store = record["store"]
        found.append(
            Base(
                path.with_suffix(".safetensors"),
                record["weights_sha256"],
                record["settings"]["model"],
                (store["channels"], *store["size"]),
            )
        )
    return tuple(found)
