"""Named tensors and a JSON record as one safetensors file, with a digest over all of it. A pickle is never read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from medsynth.disk import files
from medsynth.errors import InputError


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write tensors and a JSON record as one safetensors file, whole or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    record = json.dumps({"info": info, "sha256": _digest(contiguous, info)})
    with files.written_whole(path) as part:
        # `save_file` would put a file of its own here, whose mode ignores the umask.
        # One entry alone: the order of several is drawn anew at every call, and with it the digest of the file.
        part.write_bytes(safetensors.torch.save(contiguous, {"medsynth": record}))


def _digest(tensors: dict[str, Tensor], info: dict[str, Any]) -> str:
    """SHA-256 over the record and every tensor's name, type, shape and bytes: a flipped bit loads without complaint."""
    digest = hashlib.sha256(json.dumps(info).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        if tensor.numel():  # an empty one has no bytes, and no strides to view them by
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        InputError: not a safetensors file, or one that is cut short, altered or not ours.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        # safetensors: 8 bytes of length, which may begin as a pickle does, then the JSON header
        if start[8:] != b"{" and start.startswith((b"\x80", b"PK")):
            raise InputError(f"{path}: is a pickle, expected safetensors; pickles can run code and are never read")
        with safe_open(path, "pt") as opened:
            record = json.loads((opened.metadata() or {})["medsynth"])
            info, written = record["info"], record["sha256"]
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        if (got := _digest(tensors, info)) != written:
            raise InputError(
                f"{path}: damaged: sha256 of its content is {got[:12]}, it was written with {written[:12]}; "
                "remove it and make it again"
            )
        return tensors, info
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected weights as safetensors") from None
    except InputError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a whole medsynth safetensors file ({error}); remove it and make it again"
        ) from None
