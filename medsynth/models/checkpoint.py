"""Weights as safetensors, everything else as JSON; a pickle is never read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import medsynth
from medsynth import config
from medsynth.artifacts.store import StoreInfo
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.machine.devices import memory_format
from medsynth.models.contract import GenerativeModel, ImageSpec, build

VERSION = 1


class CheckpointInfo(config.Strict):
    """What stands in model.json: from what a generator was made, how, and the digest of its weights.

    Attributes:
        teacher_sha256: digest of the weights that it learnt from, None where it learnt from images alone.
        images_seen: in training, each as often as it came, by its teacher too.
    """

    version: int
    medsynth: str
    store: StoreInfo
    settings: config.TrainSettings
    teacher_sha256: str | None
    images_seen: int
    seconds: float
    val_loss: float
    weights_sha256: str


def spec_of(store: StoreInfo) -> ImageSpec:
    """What a model must know of a store's images."""
    return ImageSpec(store.channels, store.size, store.condition_schema)


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
                "remove it and train again"
            )
        return tensors, info
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected weights as safetensors") from None
    except InputError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a whole medsynth safetensors file ({error}); remove it and train again"
        ) from None


def save_model(
    folder: Path,
    weights: dict[str, Tensor],
    store: StoreInfo,
    settings: config.TrainSettings,
    teacher: CheckpointInfo | None,
    images_seen: int,
    seconds: float,
    val_loss: float,
) -> CheckpointInfo:
    """Write model.safetensors and, last, the model.json that vouches for it."""
    write_tensors(folder / "model.safetensors", weights, {"store": store.digest})
    info = CheckpointInfo(
        version=VERSION,
        medsynth=medsynth.__version__,
        store=store,
        settings=settings,
        teacher_sha256=teacher.weights_sha256 if teacher else None,
        images_seen=images_seen + (teacher.images_seen if teacher else 0),
        seconds=round(seconds, 3),
        val_loss=val_loss,
        weights_sha256=files.sha256(folder / "model.safetensors"),
    )
    files.write_text(folder / "model.json", info.model_dump_json(indent=2) + "\n")
    return info


def read_info(weights: Path) -> CheckpointInfo:
    """Read the model.json beside the weights."""
    path = weights.with_suffix(".json")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected beside {weights.name}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged ({error}); remove it and train again") from None
    info = config.parse_json(CheckpointInfo, text, str(path))
    if info.version != VERSION:
        raise InputError(f"{path}: version {info.version}, expected {VERSION}: train the model again")
    return info


def load_model(weights: Path, device: torch.device) -> tuple[GenerativeModel, CheckpointInfo]:
    """Load a trained model, ready to sample.

    Raises:
        InputError: weights that are missing, a pickle, damaged, or not those that model.json names.
    """
    tensors, _ = read_tensors(weights)
    info = read_info(weights)
    digest = files.sha256(weights)
    if digest != info.weights_sha256:
        raise InputError(
            f"{weights}: sha256 is {digest[:12]}, model.json names {info.weights_sha256[:12]}; "
            "remove both and train again"
        )
    model = build(info.settings.model, spec_of(info.store))
    if any(name.startswith("guide.") for name in tensors):
        model.guide = build(info.settings.model, spec_of(info.store))
    load_weights(model, tensors, weights)
    model.to(device=device, memory_format=memory_format(len(info.store.size)))
    return model.eval().requires_grad_(False), info


def load_teacher(weights: Path, store: StoreInfo, device: torch.device) -> tuple[GenerativeModel, CheckpointInfo]:
    """Load a model for another one to learn from.

    Raises:
        InputError: as `load_model`, or it learnt from another store.
    """
    model, info = load_model(weights, device)
    if info.store.digest != store.digest:
        got, expected = info.store.digest[:12], store.digest[:12]
        raise InputError(f"{weights}: the teacher learnt from a store with digest {got}, this one has {expected}")
    return model, info


def load_weights(model: GenerativeModel, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a model, or say which do not fit."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise InputError(f"{path}: weights of another model configuration ({first})") from None


def difference(got: Any, expected: Any, key: str) -> str:
    """The first place where two nested records differ, as one phrase."""
    if isinstance(got, dict) and isinstance(expected, dict):
        for name in expected:
            if got.get(name) != expected[name]:
                return difference(got.get(name), expected[name], f"{key}.{name}")
    return f"{key}: it has {got!r}, expected {expected!r}"
