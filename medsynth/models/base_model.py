"""Making weights that come with the package; `config.base_model` finds them."""

from __future__ import annotations

from pathlib import Path

import torch

from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.models.checkpoint import read_info

GUIDE = "guide."


def ship(weights: Path, out: Path) -> None:
    """Write trained weights as they are shipped: in bfloat16, without the early state that only sampling needs.

    Args:
        weights: model.safetensors, with model.json beside it.
        out: a .safetensors file; its record goes beside it.
    Raises:
        InputError: the model has learned from images that were not simulated, or its files cannot be read.
    """
    info = read_info(weights)
    if not (info.store.simulated and all(parent.simulated for parent in info.parents.values())):
        raise InputError(f"{weights}: learned from images that may show patients, only simulated ones may be shipped")
    tensors, record = read_tensors(weights)
    kept = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items() if not name.startswith(GUIDE)}
    write_tensors(out, kept, record)
    shipped = info.model_copy(update={"weights_sha256": files.sha256(out)})
    files.write_text(out.with_suffix(".json"), shipped.model_dump_json(indent=2) + "\n")
